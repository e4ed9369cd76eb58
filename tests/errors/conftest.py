"""The programs of `cases` are wrong on purpose: no test files of their own."""

collect_ignore_glob = ["cases/*.mask"]
