/* What an engine function says when it does not succeed.
 *
 * Every function of afis/ that can fail returns one of these and changes nothing else that the
 * caller can see, unless its own comment says more. All functions here are thread-safe: they touch
 * no global state and only the memory that the caller passed. */
#ifndef AFIS_STATUS_H
#define AFIS_STATUS_H

enum afis_status {
    AFIS_OK = 0,
    AFIS_NO_MEMORY,   /* the caller's allocator returned NULL */
    AFIS_BAD_FORMAT,  /* the bytes are not what they claim to be */
    AFIS_UNSUPPORTED, /* well-formed, but of a kind that the engine does not read */
    AFIS_TOO_SMALL,   /* fewer pixels than a fingertip needs */
    AFIS_TOO_LARGE,   /* more than the engine's bound, see AFIS_IMAGE_MAX_SIDE */
    AFIS_BAD_DPI,     /* outside AFIS_DPI_MIN to AFIS_DPI_MAX */
    AFIS_NOT_A_FINGER /* decoded, but no ridge pattern was found in it */
};

/* A short English phrase without a full stop, for messages; never NULL, static storage. */
const char *afis_status_text(enum afis_status status);

#endif
