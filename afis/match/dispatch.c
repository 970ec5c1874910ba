#include "internal.h"

const struct match_ops *afis_match_ops_best(void)
{
#ifdef AFIS_HAVE_MATCH_KERNELS
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
        __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("popcnt")) {
        return &afis_match_ops_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") &&
        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
        return &afis_match_ops_avx2;
    }
#endif
    return &afis_match_ops_portable;
}
