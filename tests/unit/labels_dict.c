/* dict.NAME.txt: finding it, reading it like fairseq, writing it on demand, and its effect on the labels. */
#include "formats/file.h"
#include "formats/labels/labels.h"
#include "tests/unit/labels.h"

#include <sys/stat.h>
#include <unistd.h>

/* Whether dict.d.txt with this text is read; then *d is it. */
static int reads(mert_label_dict **d, const char *text)
{
    put_file(test_tmp("dict.d.txt"), text);
    return mert_label_dict_find(d, test_tmp("train.d"), &err) == 1;
}

TEST(line_n_is_class_n)
{
    mert_label_dict *d;
    CHECK(reads(&d, "0 1\n1 123456\n2 0\n") && mert_label_dict_classes(d) == 3);
    CHECK(mert_label_dict_class(d, "2", 1) == 2 && mert_label_dict_class(d, "12", 1) == 1);
    CHECK(mert_label_dict_class(d, "3", 1) == -1 && mert_label_dict_class(d, "02", 2) == -1
          && mert_label_dict_class(d, "", 0) == -1 && mert_label_dict_class(d, "-1", 2) == -1
          && mert_label_dict_class(d, "4294967296", 10) == -1);
    mert_label_dict_free(d);
    CHECK(reads(&d, "10 1\r\n9 7 \n0 1\nA:min 3\n\xc3\xa9 1") && mert_label_dict_classes(d) == 5);
    CHECK(mert_label_dict_class(d, "10", 2) == 0 && mert_label_dict_class(d, "9", 1) == 1
          && mert_label_dict_class(d, "0", 1) == 2 && mert_label_dict_class(d, "A:min", 5) == 3
          && mert_label_dict_class(d, "\xc3\xa9", 2) == 4 && mert_label_dict_class(d, "1", 1) == -1);
    mert_label_dict_free(d);
}

TEST(many_names_are_all_found)
{
    enum { N = 20000 };
    static char text[N * 16];
    char name[16];
    size_t at = 0;
    mert_label_dict *d;
    for (int i = 0; i < N; i++)
        at += (size_t)sprintf(text + at, "%d 1\n", (i * 7919) % N);
    CHECK(reads(&d, text) && mert_label_dict_classes(d) == N);
    for (int i = 0; i < N; i++) {
        int n = sprintf(name, "%d", (i * 7919) % N);
        CHECK(mert_label_dict_class(d, name, (size_t)n) == i);
    }
    CHECK(mert_label_dict_class(d, "20000", 5) == -1);
    mert_label_dict_free(d);
}

TEST(what_fairseq_would_not_read_is_refused)
{
    mert_label_dict *d;
    CHECK(!reads(&d, "") && says("dict.d.txt: lists no class"));
    CHECK(!reads(&d, "0 1\n1\n") && says("dict.d.txt:2: '1' is not '<class> <count>'"));
    CHECK(!reads(&d, "0 1\n\n1 1\n") && says("dict.d.txt:2: '' is not"));
    CHECK(!reads(&d, "0 x\n") && says("dict.d.txt:1: '0 x' is not"));
    CHECK(!reads(&d, "0 -1\n") && says("dict.d.txt:1: '0 -1' is not"));
    CHECK(!reads(&d, " 1\n") && says("dict.d.txt:1: '1' is not '<class> <count>'"));
    CHECK(!reads(&d, "a b 1\n") && says("dict.d.txt:1: the class 'a b' is more than one word"));
    CHECK(!reads(&d, "0 1\n1 1\nx 2\n1 4\n") && says("dict.d.txt:4: the class '1' stands in line 2 already"));
    CHECK(!reads(&d, "0 1\n<unk> 1\n") && says("dict.d.txt:2: <unk> is fairseq's own"));
    CHECK(!reads(&d, "0 1\n1 1 #fairseq:overwrite\n") && says("dict.d.txt:2: '1 1 #fairseq:overwrite' is not"));
}

TEST(it_stands_beside_its_labels)
{
    mert_label_dict *d;
    char *path = mert_label_dict_path("x/train.encodec_0", &err);
    CHECK(path && !strcmp(path, "x/dict.encodec_0.txt"));
    free(path);
    path = mert_label_dict_path("v1.5/train.km.npy", &err);
    CHECK(path && !strcmp(path, "v1.5/dict.km.txt"));
    free(path);
    CHECK(!mert_label_dict_path("a.b/labels", &err) && says("a.b/labels: fairseq has label files called SPLIT.NAME"));
    CHECK(!mert_label_dict_path("labels.npy", &err) && !mert_label_dict_path("labels.", &err));
    put_file(test_tmp("dict.three.txt"), "0 1\n1 1\n2 1\n");
    CHECK(mert_label_dict_find(&d, test_tmp("valid.two.three"), &err) == 1 && mert_label_dict_classes(d) == 3);
    CHECK(!strcmp(mert_label_dict_file(d), test_tmp("dict.three.txt")));
    mert_label_dict_free(d);
    put_file(test_tmp("dict.two.three.txt"), "0 1\n1 1\n"); /* the longer name is preferred */
    CHECK(mert_label_dict_find(&d, test_tmp("valid.two.three"), &err) == 1 && mert_label_dict_classes(d) == 2);
    mert_label_dict_free(d);
    CHECK(mert_label_dict_find(&d, test_tmp("valid.two"), &err) == 0 && !d);
    CHECK(mert_label_dict_find(&d, test_tmp("three"), &err) == 0 && !d);
}

TEST(written_where_nothing_else_stands)
{
    const char *labels = test_tmp("train.w"), *dict = test_tmp("dict.w.txt");
    unlink(dict);
    CHECK(!mert_label_dict_check(labels, 3, &err) && access(dict, F_OK));
    CHECK(!mert_label_dict_write(labels, 3, &err) && holds(dict, "0 1\n1 1\n2 1\n"));
    put_file(dict, "0 17\n1 4\n2 9\n"); /* counts are not used */
    CHECK(!mert_label_dict_write(labels, 3, &err) && holds(dict, "0 17\n1 4\n2 9\n"));
    CHECK(mert_label_dict_check(labels, 4, &err)
          && says("dict.w.txt: is there and lists 3 classes, these labels have 4"));
    put_file(dict, "0 1\n2 1\n1 1\n");
    CHECK(mert_label_dict_write(labels, 3, &err)
          && says("dict.w.txt:2: is there and orders its classes otherwise: here stands '2'"));
    CHECK(holds(dict, "0 1\n2 1\n1 1\n"));
}

static int open_labels(mert_labels *l, const char *text, const char *meta, const char *dict)
{
    put_file(test_tmp("train.q"), text);
    unlink(test_tmp("train.q.meta"));
    if (meta)
        put_file(test_tmp("train.q.meta"), meta);
    put_file(test_tmp("dict.q.txt"), dict);
    return mert_labels_open(l, test_tmp("train.q"), &err);
}

TEST(labels_are_classes_in_its_order)
{
    mert_labels l;
    int32_t v[4];
    CHECK(!open_labels(&l, "C G:7 C\n\nN\r\n", NULL, "N 1\nC 1\nG:7 1\n") && !l.verified && l.meta.classes == 3);
    CHECK(mert_labels_count(&l, 0) == 3 && !mert_labels_read(&l, 0, 0, 3, v, &err) && v[0] == 1 && v[1] == 2
          && v[2] == 1);
    CHECK(mert_labels_count(&l, 1) == 0 && !mert_labels_read(&l, 2, 0, 1, v, &err) && v[0] == 0);
    mert_labels_close(&l);
    CHECK(!open_labels(&l, "0 2 1\n", "classes=3\nrows=1\n", "2 1\n1 1\n0 1\n") && l.verified);
    CHECK(!mert_labels_read(&l, 0, 0, 3, v, &err) && v[0] == 2 && v[1] == 0 && v[2] == 1);
    mert_labels_close(&l);
    CHECK(open_labels(&l, "0 1\n1 3\n", NULL, "0 1\n1 1\n")
          && says("train.q:2:3: '3' is none of the 2 classes in ") && says("dict.q.txt"));
    CHECK(open_labels(&l, "0 01\n", NULL, "0 1\n1 1\n") && says("train.q:1:3: '01' is none of the 2 classes"));
    CHECK(open_labels(&l, "0 1\n", "classes=3\nrows=1\n", "0 1\n1 1\n")
          && says("train.q: its .meta says 3 classes, but ") && says("dict.q.txt lists 2"));
    CHECK(open_labels(&l, "0 1\n", "classes=3\nrows=1\n", "0 1\n0 1\n1 1\n")
          && says("dict.q.txt:2: the class '0' stands"));
}

int main(void)
{
    RUN(line_n_is_class_n);
    RUN(many_names_are_all_found);
    RUN(what_fairseq_would_not_read_is_refused);
    RUN(it_stands_beside_its_labels);
    RUN(written_where_nothing_else_stands);
    RUN(labels_are_classes_in_its_order);
    return test_done();
}
