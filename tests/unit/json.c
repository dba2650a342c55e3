#include "formats/json.h"
#include "tests/test.h"

static mert_json *parse(const char *s, mert_error *e)
{
    return mert_json_parse(s, strlen(s), "f.json", e);
}

TEST(values_by_type)
{
    mert_error e;
    mert_json *j = parse("{\"i\": 3, \"d\": 0.5, \"t\": true, \"s\": \"x\", \"a\": [1, 2.5], \"n\": null}", &e);
    int64_t i = 7;
    double d = 7;
    int b = 7;
    CHECK(j && mert_json_is_object(j) && mert_json_size(j) == 6);
    CHECK(mert_json_int(j, "i", &i) == 0 && i == 3);
    CHECK(mert_json_double(j, "i", &d) == 0 && d == 3);
    CHECK(mert_json_double(j, "d", &d) == 0 && d == 0.5);
    CHECK(mert_json_bool(j, "t", &b) == 0 && b == 1);
    CHECK(!strcmp(mert_json_string(j, "s"), "x"));
    CHECK(mert_json_size(mert_json_get(j, "a")) == 2);
    CHECK(mert_json_as_double(mert_json_at(mert_json_get(j, "a"), 1), &d) == 0 && d == 2.5);
    CHECK(mert_json_at(mert_json_get(j, "a"), 2) == NULL);
    mert_json_free(j);
}

TEST(another_type_leaves_the_default_alone)
{
    mert_error e;
    mert_json *j = parse("{\"d\": 0.5, \"s\": \"x\"}", &e);
    int64_t i = 7;
    double d = 7;
    int b = 7;
    CHECK(j);
    CHECK(mert_json_int(j, "d", &i) == -1 && mert_json_int(j, "none", &i) == -1 && i == 7);
    CHECK(mert_json_double(j, "s", &d) == -1 && d == 7);
    CHECK(mert_json_bool(j, "d", &b) == -1 && b == 7);
    CHECK(mert_json_string(j, "d") == NULL && mert_json_get(mert_json_get(j, "d"), "x") == NULL);
    mert_json_free(j);
}

TEST(walks_in_order)
{
    mert_error e;
    mert_json *j = parse("{\"z\": 1, \"a\": 2, \"m\": 3}", &e);
    mert_json_iterator w = {j, NULL};
    const mert_json *v;
    const char *k;
    char all[16] = "";
    int64_t n, sum = 0;
    CHECK(j);
    while ((k = mert_json_next(&w, &v))) {
        strcat(all, k);
        CHECK(mert_json_as_int(v, &n) == 0);
        sum += n;
    }
    CHECK(!strcmp(all, "zam") && sum == 6);
    CHECK(mert_json_next(&w, &v) == NULL);
    mert_json_free(j);
}

TEST(refuses_what_is_not_json)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\":1,}",
                                      "{\"a\":1} x",
                                      "{\"a\":1,\"a\":2}",
                                      "[NaN]",
                                      "{\"a\":\"\xff\"}",
                                      "[1e999]",
                                      "[99999999999999999999]",
                                      "\"\\u0000",
                                      "{'a':1}",
                                      "[01]"};
    char deep[5000];
    mert_error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mert_json *j = parse(bad[i], &e);
        if (j)
            printf("# accepted: %s\n", bad[i]);
        CHECK(!j);
        CHECK(strstr(e.text, "f.json: line ") && strstr(e.text, "column ") && !strchr(e.text, '\n'));
    }
    memset(deep, '[', sizeof deep);
    CHECK(!mert_json_parse(deep, sizeof deep, "deep.json", &e) && strstr(e.text, "deep.json"));
}

TEST(names_the_line)
{
    mert_error e;
    CHECK(!parse("{\n \"a\": 1,\n \"b\": ]\n}", &e));
    CHECK(strstr(e.text, "line 3"));
}

TEST(reads_files)
{
    mert_error e;
    const char *path = test_tmp("a.json");
    FILE *f = fopen(path, "w");
    mert_json *j;
    int64_t n = 0;
    CHECK(f && fputs("{\"n\": 12}\n", f) > 0 && !fclose(f));
    CHECK((j = mert_json_read(path, &e)) && mert_json_int(j, "n", &n) == 0 && n == 12);
    mert_json_free(j);
    CHECK(!mert_json_read(test_tmp("none.json"), &e) && strstr(e.text, "none.json"));
}

TEST(quotes)
{
    char *q = mert_json_quote("a\"b\\c\n\x01"), *text;
    mert_error e;
    mert_json *j;
    CHECK(q && !strcmp(q, "\"a\\\"b\\\\c\\n\\u0001\""));
    free(q);
    CHECK(mert_json_quote("\xff") == NULL);
    CHECK((j = parse("{\"b\":[1,{\"c\":null}]}", &e)) && (text = mert_json_text(j, 0)) &&
          !strcmp(text, "{\"b\": [1, {\"c\": null}]}"));
    free(text);
    mert_json_free(j);
}

int main(void)
{
    RUN(values_by_type);
    RUN(another_type_leaves_the_default_alone);
    RUN(walks_in_order);
    RUN(refuses_what_is_not_json);
    RUN(names_the_line);
    RUN(reads_files);
    RUN(quotes);
    return test_done();
}
