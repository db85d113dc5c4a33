/* SPDX-License-Identifier: MIT
 *
 * Rules and hashes of passwords.
 */
#include "common/password.h"

#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/auto.h"

static const struct password_owner nobody = {"", "", "", ""};

static void check(const char *password, const struct password_owner *owner, const char *first)
{
    struct password_faults faults;

    password_judge(password, owner, &faults);
    if (!first)
        cr_assert_eq(faults.count, 0, "%s: %s", password, faults.messages[0]);
    else
        cr_assert_str_eq(faults.count ? faults.messages[0] : "none", first, "%s", password);
}

Test(password, rules_of_django)
{
    struct password_faults faults;

    check("long-enough-9", &nobody, NULL);
    check("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", &nobody, NULL);
    check("qz7-kd2", &nobody, "This password is too short. It must contain at least 8 characters.");
    check("PassWord1", &nobody, "This password is too common.");
    check("9482019375", &nobody, "This password is entirely numeric.");
    check("\xef\xbc\x91\xef\xbc\x92\xef\xbc\x93\xef\xbc\x99"
          "7\xd9\xa3\xc2\xb2\xf0\x9d\x9f\x98",
          &nobody, "This password is entirely numeric.");
    check("9482019\xc2\xbd", &nobody, NULL);
    check("948201937\xcc\x81", &nobody, NULL);
    check("  password\xc2\xa0", &nobody, "This password is too common.");
    check("pass word", &nobody, NULL);
    password_judge("123", &nobody, &faults);
    cr_assert_eq(faults.count, 3);
    cr_assert_str_eq(faults.messages[0],
                     "This password is too short. It must contain at least 8 characters.");
    cr_assert_str_eq(faults.messages[1], "This password is too common.");
    cr_assert_str_eq(faults.messages[2], "This password is entirely numeric.");
}

Test(password, must_not_resemble_its_owner)
{
    const struct password_owner owner = {"bluewhale77", "Josephine", "Baker-Smith",
                                         "jbaker@whale-watching.example.com"};

    check("bluewhale77", &owner, "The password is too similar to the username.");
    check("BlueWhale78", &owner, "The password is too similar to the username.");
    check("josephine1", &owner, "The password is too similar to the first name.");
    check("SmithSmith", &owner, NULL);
    check("baker-smiht", &owner, "The password is too similar to the last name.");
    check("whale-watching", &owner, "The password is too similar to the email.");
    check("entirely-else-9", &owner, NULL);
}

Test(password, common_ones_are_sorted_and_many)
{
    size_t long_ones = 0;

    for (size_t i = 0; i < password_common_count; i++) {
        long_ones += strlen(password_common_list[i]) >= 8;
        if (i > 0)
            cr_assert_lt(strcmp(password_common_list[i - 1], password_common_list[i]), 0, "%s",
                         password_common_list[i]);
    }
    cr_assert_geq(long_ones, 1000);
}

Test(password, hashes_verify)
{
    char hash[PASSWORD_HASH_SIZE];
    char again[PASSWORD_HASH_SIZE];
    char long_one[PASSWORD_MAX_CHARS + 1];
    bool matches = false;

    cr_assert_geq(sodium_init(), 0);
    cr_assert_eq(password_hash("secret-7", hash, NULL), ERR_OK);
    cr_assert_eq(password_hash("secret-7", again, NULL), ERR_OK);
    cr_assert_str_neq(hash, again);
    cr_assert_eq(strncmp(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31), 0, "%s", hash);
    cr_assert_eq(password_verify(hash, "secret-7", &matches, NULL), ERR_OK);
    cr_assert(matches);
    cr_assert_eq(password_verify(hash, "secret-8", &matches, NULL), ERR_OK);
    cr_assert_not(matches);
    cr_assert_eq(password_verify(NULL, "secret-7", &matches, NULL), ERR_OK);
    cr_assert_not(matches);
    cr_assert_eq(password_verify("$argon2id$rubbish", "secret-7", &matches, NULL), ERR_OK);
    cr_assert_not(matches);
    memset(long_one, 'x', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    cr_assert_eq(password_hash(long_one, hash, NULL), ERR_OK);
    long_one[sizeof long_one - 2] = 'y'; /* beyond the 72nd byte, where others stop looking */
    cr_assert_eq(password_verify(hash, long_one, &matches, NULL), ERR_OK);
    cr_assert_not(matches);
}
