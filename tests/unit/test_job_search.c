/* SPDX-License-Identifier: MIT
 *
 * Flower's search syntax: words, fields, brackets, quotes; and that no text makes it anything but
 * terms or a refusal.
 */
#include "common/job_search.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/auto.h"

static void expect(const char *text, const char *groups, const char *kinds, const char *keys,
                   const char *texts)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct err e = {0};

    cr_assert_eq(job_search_parse(text, &search, &e), ERR_OK, "%s: %s", text, e.text);
    cr_assert_str_eq(search.groups.data, groups, "%s: groups %s", text, search.groups.data);
    cr_assert_str_eq(search.kinds.data, kinds, "%s: kinds %s", text, search.kinds.data);
    cr_assert_str_eq(search.keys.data, keys, "%s: keys %s", text, search.keys.data);
    cr_assert_str_eq(search.texts.data, texts, "%s: texts %s", text, search.texts.data);
}

static void refuse(const char *text, const char *why)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};
    struct err e = {0};

    cr_assert_eq(job_search_parse(text, &search, &e), ERR_INVALID, "%s is taken", text);
    cr_assert(strstr(e.text, why), "%s: %s", text, e.text);
}

Test(job_search, words_hold_together)
{
    expect("Order mail", "{\"0\",\"0\"}", "{\"0\",\"0\"}", "{\"\",\"\"}", "{\"order\",\"mail\"}");
    expect("  \"timed out\"  ", "{\"0\"}", "{\"0\"}", "{\"\"}", "{\"timed out\"}");
}

Test(job_search, fields)
{
    expect("state:failure worker:h:1", "{\"0\",\"0\"}", "{\"2\",\"3\"}", "{\"\",\"\"}",
           "{\"FAILURE\",\"h:1\"}");
    expect("kwargs:user=7 args:4", "{\"0\",\"0\"}", "{\"5\",\"4\"}", "{\"user\",\"\"}",
           "{\"7\",\"4\"}");
    expect("kwargs:name=\"a b\"", "{\"0\"}", "{\"5\"}", "{\"name\"}", "{\"a b\"}");
    expect("result:\"say \\\"x\\\"\"", "{\"0\"}", "{\"6\"}", "{\"\"}", "{\"say \\\"x\\\"\"}");
    expect("kwargs:seven NAME:mail", "{\"0\",\"0\"}", "{\"5\",\"1\"}", "{\"\",\"\"}",
           "{\"seven\",\"mail\"}");
    expect("other:thing", "{\"0\"}", "{\"0\"}", "{\"\"}", "{\"other:thing\"}");
}

Test(job_search, or_and_brackets)
{
    expect("aaa OR bbb", "{\"0\",\"1\"}", "{\"0\",\"0\"}", "{\"\",\"\"}", "{\"aaa\",\"bbb\"}");
    expect("aaa (bbb OR ccc)", "{\"0\",\"0\",\"1\",\"1\"}", "{\"0\",\"0\",\"0\",\"0\"}",
           "{\"\",\"\",\"\",\"\"}", "{\"aaa\",\"bbb\",\"aaa\",\"ccc\"}");
    expect("aaa AND bbb OR \"-ccc\"", "{\"0\",\"0\",\"1\"}", "{\"0\",\"0\",\"0\"}",
           "{\"\",\"\",\"\"}", "{\"aaa\",\"bbb\",\"-ccc\"}");
    expect("ANDy", "{\"0\"}", "{\"0\"}", "{\"\"}", "{\"andy\"}");
    expect("((aaa))", "{\"0\"}", "{\"0\"}", "{\"\"}", "{\"aaa\"}");
    expect("ORacle", "{\"0\"}", "{\"0\"}", "{\"\"}", "{\"oracle\"}");
}

Test(job_search, nothing_is_no_search)
{
    AUTO_VALUE(job_search_release) struct job_search search = {0};

    cr_assert_eq(job_search_parse("   ", &search, NULL), ERR_OK);
    cr_assert_eq(search.count, 0);
}

Test(job_search, refusals_say_why)
{
    AUTO_VALUE(buf_release) struct buf deep;

    refuse("ab", "at least 3");
    refuse("\"open", "quote");
    refuse("(aaa", "not closed");
    refuse("aaa)", "not opened");
    refuse("OR aaa", "lacks a word");
    refuse("aaa OR", "lacks a word");
    refuse("()", "lacks a word");
    refuse("name:", "empty");
    refuse("\"\"", "empty");
    refuse("kwargs:7", "at least 3");
    refuse("NOT aaa", "NOT");
    refuse("aaa -bbb", "NOT and -");
    refuse("aaa AND", "behind AND");
    refuse("aaa AND OR bbb", "behind AND");
    refuse("kwargs:=x", "KEY=VALUE");
    refuse("aa1 aa2 aa3 aa4 aa5 aa6 aa7 aa8 aa9 aa10 aa11 aa12 aa13 aa14 aa15 aa16 aa17", "words");
    refuse("(aaa OR bbb) (ccc OR ddd) (eee OR fff) (ggg OR hhh) (iii OR jjj) (kkk OR lll)",
           "alternatives");
    buf_init(&deep, 4096);
    for (int i = 0; i < 400; i++)
        buf_add_char(&deep, '(');
    refuse(deep.data, "brackets");
    while (deep.len <= JOB_SEARCH_BYTES)
        buf_add_char(&deep, 'x');
    refuse(deep.data, "bytes");
}
