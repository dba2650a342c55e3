/* Reading and writing the values of a configuration in JSON. A key that is absent leaves what stands before the call:
 * the default. Errors name the key. */
#ifndef MERT_CONFIG_JSON_H
#define MERT_CONFIG_JSON_H

#include "formats/json.h"

/* Whole numbers within +- 2^30. */
int mert_config_take_int(const mert_json *j, const char *key, int *to, mert_error *e) MERT_MUST_USE;
int mert_config_take_bool(const mert_json *j, const char *key, int *to, mert_error *e) MERT_MUST_USE;
/* null stands for the default. */
int mert_config_take_double(const mert_json *j, const char *key, double *to, mert_error *e) MERT_MUST_USE;
/* *to: NULL if absent or null. */
int mert_config_take_string(const mert_json *j, const char *key, const char **to, mert_error *e) MERT_MUST_USE;
/* A list of 1 to `room` whole numbers; *n: how many. Absent: *n stays. */
int mert_config_take_list(const mert_json *j, const char *key, int *to, int room, int *n, mert_error *e) MERT_MUST_USE;
/* Where the key is given, its value must be this one: nothing else is computed here. */
int mert_config_must_be(const mert_json *j, const char *key, const char *value, mert_error *e) MERT_MUST_USE;
int mert_config_must_not(const mert_json *j, const char *key, int value, mert_error *e) MERT_MUST_USE;
/* -1, and an error that names it: v is outside low to high. */
int mert_config_within(int64_t v, int64_t low, int64_t high, const char *what, mert_error *e) MERT_MUST_USE;
/* For writing: "true" or "false". */
const char *mert_config_yes_no(int v);

#endif
