#include "afis/status.h"

const char *afis_status_text(enum afis_status status)
{
    switch (status) {
    case AFIS_OK:
        return "done";
    case AFIS_NO_MEMORY:
        return "out of memory";
    case AFIS_BAD_FORMAT:
        return "the bytes are not what they claim to be";
    case AFIS_UNSUPPORTED:
        return "a kind of data that the engine does not read";
    case AFIS_TOO_SMALL:
        return "too few pixels for a fingertip";
    case AFIS_TOO_LARGE:
        return "larger than the engine accepts";
    case AFIS_BAD_DPI:
        return "resolution outside 250 to 1000 dpi";
    case AFIS_NOT_A_FINGER:
        return "no ridge pattern was found";
    }
    return "unknown status";
}
