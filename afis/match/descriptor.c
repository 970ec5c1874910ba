#include "internal.h"

static const struct describe_ops *ops_best(void)
{
#ifdef AFIS_HAVE_MATCH_KERNELS
    const struct match_ops *match = afis_match_ops_best(); /* asks for more than describing does */
    if (match == &afis_match_ops_avx512) {
        return &afis_describe_ops_avx512;
    }
    if (match == &afis_match_ops_avx2) {
        return &afis_describe_ops_avx2;
    }
#endif
    return &afis_describe_ops_portable;
}

void afis_cylinder(const struct afis_finger *finger, unsigned centre, float out[CYLINDER_CELLS])
{
    ops_best()->cylinder(finger, centre, out);
}

void afis_describe(struct afis_finger *finger)
{
    ops_best()->describe(finger);
}
