/* Marks the functions that libwhorl-sdk exports. */
#ifndef WHORL_API_H
#define WHORL_API_H

#define WHORL_API __attribute__((visibility("default")))

#endif
