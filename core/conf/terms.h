/* The words of docs/protocol.md that rules may use. NULL-terminated. */
#ifndef CORE_CONF_TERMS_H
#define CORE_CONF_TERMS_H

extern const char *const conf_conditions[]; /* of the subject: "adult", … */
extern const char *const conf_consents[];   /* "given", … */
extern const char *const conf_requirable[]; /* fields of identify that a rule may require */

#endif
