#include "stages.h"

const struct pixel_ops *afis_pixel_ops_best(void)
{
#ifdef AFIS_HAVE_PIXEL_OPS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        return &afis_pixel_ops_avx512;
    }
    if (__builtin_cpu_supports("avx2")) {
        return &afis_pixel_ops_avx2;
    }
#endif
    return &afis_pixel_ops_portable;
}
