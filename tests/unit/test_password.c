/* SPDX-License-Identifier: MIT
 *
 * Django's four rules with Django's own cases, and hashes that only their password opens.
 */
#include "common/password.h"

#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/auto.h"
#include "common/text.h"

static void start(void) { cr_assert_geq(sodium_init(), 0); }

TestSuite(password, .init = start);

static const struct password_owner NOBODY = {0};

static bool has_fault(const struct password_faults *faults, const char *words)
{
    for (size_t i = 0; i < faults->count; i++)
        if (strstr(faults->messages[i], words))
            return true;
    return false;
}

static bool is_faulted(const char *password, const struct password_owner *owner, const char *words)
{
    struct password_faults faults;

    password_judge(password, owner, &faults);
    return has_fault(&faults, words);
}

Test(password, good_ones)
{
    static const char *const good[] = {
        "correct horse battery",
        "x7#kQ2!m",
        "\xc3\xa9\xc3\xa8\xc3\xa0\xc3\xb9\xc3\xaf\xc3\xbc\xc3\xb6\xc3\xa4",
        "12345678901a",
        "  two blanks  ",
    };

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct password_faults faults;

        password_judge(good[i], &NOBODY, &faults);
        cr_expect_eq(faults.count, 0, "\"%s\": %s", good[i], faults.messages[0]);
    }
}

Test(password, eight_characters_not_bytes)
{
    cr_assert(is_faulted("", &NOBODY, "too short"));
    cr_assert(is_faulted("q8Zr#x1", &NOBODY, "too short"));
    cr_assert_not(is_faulted("q8Zr#x1k", &NOBODY, "too short"));
    cr_assert(is_faulted("\xc3\xa9\xc3\xa8\xc3\xa0\xc3\xb9", &NOBODY, "too short"),
              "4, in 8 bytes");
}

Test(password, entirely_numeric)
{
    cr_assert(is_faulted("8301947265", &NOBODY, "entirely numeric"));
    cr_assert_not(is_faulted("8301947265x", &NOBODY, "entirely numeric"));
    cr_assert_not(is_faulted("-8301947265", &NOBODY, "entirely numeric"));
}

Test(password, common_ones_in_any_case)
{
    cr_assert(is_faulted("password", &NOBODY, "too common"));
    cr_assert(is_faulted("PassWord", &NOBODY, "too common"));
    cr_assert(is_faulted("12345678", &NOBODY, "too common"));
    cr_assert_not(is_faulted("godisnowhere-42", &NOBODY, "too common"));
}

/* The search is binary: one word out of place hides others. */
Test(password, list_is_sorted_lower_case_and_long)
{
    cr_assert_geq(password_common_count, 1000);
    for (size_t i = 1; i < password_common_count; i++)
        cr_assert_lt(strcmp(password_common_list[i - 1], password_common_list[i]), 0, "%s, %s",
                     password_common_list[i - 1], password_common_list[i]);
    for (size_t i = 0; i < password_common_count; i++)
        for (const char *p = password_common_list[i]; *p; p++)
            cr_assert(*p < 'A' || *p > 'Z', "%s", password_common_list[i]);
}

/* From Django's tests of UserAttributeSimilarityValidator. */
Test(password, similar_to_the_owner)
{
    static const struct password_owner owner = {.username = "testclient",
                                                .first_name = "Test",
                                                .last_name = "Client",
                                                .email = "testclient@example.com"};

    cr_assert(is_faulted("testclient", &owner, "too similar to the username"));
    cr_assert(is_faulted("TestClient1", &owner, "too similar to the username"));
    cr_assert(is_faulted("tnelictset", &owner, "too similar"), "the order does not count");
    cr_assert(is_faulted("example.com", &owner, "too similar to the email"));
    cr_assert_not(is_faulted("x7#kQ2!mvw", &owner, "too similar"));
}

Test(password, short_names_do_not_forbid_long_passwords)
{
    static const struct password_owner owner = {.username = "a", .first_name = "", .email = NULL};

    cr_assert_not(is_faulted("a-long-and-good-passphrase", &owner, "too similar"));
}

Test(password, all_faults_at_once)
{
    struct password_faults faults;
    static const struct password_owner owner = {.username = "1234567"};

    password_judge("1234567", &owner, &faults);
    cr_assert_eq(faults.count, 4);
}

Test(password, hash_opens_for_its_password_alone)
{
    char hash[PASSWORD_HASH_SIZE];
    char again[PASSWORD_HASH_SIZE];
    bool matches = false;
    struct err e = {0};

    cr_assert_eq(password_hash("correct horse", hash, &e), ERR_OK, "%s", e.text);
    cr_assert(text_starts(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), "%s", hash);
    cr_assert_eq(password_verify(hash, "correct horse", &matches, &e), ERR_OK);
    cr_assert(matches);
    cr_assert_eq(password_verify(hash, "correct horsf", &matches, &e), ERR_OK);
    cr_assert_not(matches);
    cr_assert_eq(password_verify(hash, "", &matches, &e), ERR_OK);
    cr_assert_not(matches);
    cr_assert_eq(password_hash("correct horse", again, &e), ERR_OK);
    cr_assert_str_neq(hash, again, "salted");
}

Test(password, nothing_is_cut)
{
    static char one[200];
    static char two[200];
    char hash[PASSWORD_HASH_SIZE];
    bool matches = true;

    memset(one, 'x', sizeof one - 1);
    memcpy(two, one, sizeof two);
    two[sizeof two - 2] = 'y';
    cr_assert_eq(password_hash(one, hash, NULL), ERR_OK);
    cr_assert_eq(password_verify(hash, two, &matches, NULL), ERR_OK);
    cr_assert_not(matches);
}

Test(password, nobody_and_broken_hashes_never_match)
{
    static const char *const broken[] = {
        NULL, "", "plain", "$argon2id$", "$2b$12$abc", "$argon2id$v=19$m=19456,t=2,p=1$AAAA$"};

    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        bool matches = true;

        cr_expect_eq(password_verify(broken[i], "x", &matches, NULL), ERR_OK);
        cr_expect_not(matches, "%s", broken[i]);
    }
}
