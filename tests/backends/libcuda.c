/* Stands for CUDA's driver: remembers what it is asked for, in a file that CUDA_STUB_LOG names. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *current = 0;

static void note(const char *text) {
    FILE *file = fopen(getenv("CUDA_STUB_LOG"), "a");
    fprintf(file, "%s\n", text);
    fclose(file);
}

int cuInit(unsigned flags) { return flags; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 40; return ordinal > 1 ? 101 : 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { note("retain"); *context = (void *)(intptr_t)(0x100000000 + device); return 0; }
int cuCtxGetCurrent(void **context) { *context = current; return 0; }
int cuCtxPushCurrent_v2(void *context) { note("push"); current = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { note("pop"); *context = current; current = 0; return 0; }
int cuGetErrorName(int code, const char **text) { *text = code == 200 ? "CUDA_ERROR_INVALID_IMAGE" : 0; return code != 200; }

int cuModuleLoadData(void **module, const void *image) {
    if (!current || memcmp(image, "\177ELF\0cubin", 10)) return 200;
    *module = (void *)0x700000001;
    return 0;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = (void *)0x800000002;
    return module != (void *)0x700000001 || strcmp(name, "entry");
}

int cuFuncSetCacheConfig(void *function, int config) { return config != 1; }

int cuFuncSetAttribute(void *function, int attribute, int value) {
    char text[80];
    sprintf(text, "attribute %d %d", attribute, value);
    note(text);
    return function != (void *)0x800000002;
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **values, void **extra) {
    char text[400];
    sprintf(text, "launch %p (%u %u %u) (%u %u %u) %u %p: %lx %d %ld %g %lx %lx%s%s", function, gx, gy, gz, bx, by, bz,
            shared, stream, *(uint64_t *)values[0], *(int32_t *)values[1], *(int64_t *)values[2], *(float *)values[3],
            *(uint64_t *)values[4], *(uint64_t *)values[5], extra ? " extra" : "", current ? "" : " nowhere");
    note(text);
    return 0;
}
