#include "stages.h"

const struct pixel_ops *afis_pixel_ops_best(void)
{
#ifdef AFIS_HAVE_AVX2
    if (__builtin_cpu_supports("avx2")) {
        return &afis_pixel_ops_avx2;
    }
#endif
    return &afis_pixel_ops_portable;
}
