/* Functions that read and write the values of a configuration in JSON. If a key is absent, *to is not changed: it keeps
 * the default that it had before the call. Errors name the key. */
#ifndef MERT_CONFIG_JSON_H
#define MERT_CONFIG_JSON_H

#include "formats/json.h"

/* Integers within +- 2^30. */
int mert_config_read_int(const mert_json *j, const char *key, int *to, mert_error *e) MERT_MUST_USE;
int mert_config_read_bool(const mert_json *j, const char *key, int *to, mert_error *e) MERT_MUST_USE;
/* null means the default, too. */
int mert_config_read_double(const mert_json *j, const char *key, double *to, mert_error *e) MERT_MUST_USE;
/* *to: NULL if absent or null. The text belongs to j. */
int mert_config_read_string(const mert_json *j, const char *key, const char **to, mert_error *e) MERT_MUST_USE;
/* A list of 1 to `room` integers; *n: their number. If the key is absent, *n is not changed. */
int mert_config_read_list(const mert_json *j, const char *key, int *to, int room, int *n, mert_error *e) MERT_MUST_USE;
/* If the key is present, its value must be this one (must_not: must not be this one), because no other is supported. */
int mert_config_must_be(const mert_json *j, const char *key, const char *value, mert_error *e) MERT_MUST_USE;
int mert_config_must_not(const mert_json *j, const char *key, int value, mert_error *e) MERT_MUST_USE;
/* -1, and an error that names `what`, if v is not within low to high. */
int mert_config_within(int64_t v, int64_t low, int64_t high, const char *what, mert_error *e) MERT_MUST_USE;
/* For writing: "true" or "false". */
const char *mert_config_yes_no(int v);

#endif
