/* SPDX-License-Identifier: MIT
 *
 * A token that was found good once is not read again, and nothing else passes for it.
 */
#include "api/tokens.h"

#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/mem.h"

#define SECRET "a secret of the tests, 32 bytes+"
#define NOW (INT64_C(1700000000) * US_PER_S)

static char *make(enum token_kind kind, int64_t user_id)
{
    struct uuid jti = uuid_v4();
    char *text = NULL;

    cr_assert_eq(
        token_make(&(struct token_keys){.present = SECRET}, kind, user_id, &jti, NOW, &text, NULL),
        ERR_OK);
    return text;
}

static enum token_verdict judge(const char *secret, const char *text, int64_t now_us,
                                int64_t *ret_user_id)
{
    struct token_claims claims = {0};
    enum token_verdict verdict =
        tokens_read(&(struct token_keys){.present = secret}, text, strlen(text), now_us, &claims);

    *ret_user_id = claims.user_id;
    return verdict;
}

TestSuite(tokens, .init = (void (*)(void))sodium_init);

Test(tokens, are_remembered)
{
    AUTO(mem_free) char *text = make(TOKEN_ACCESS, 42);
    int64_t user_id;

    cr_assert_eq(judge("another secret of thirty-two bytes", text, NOW, &user_id), TOKEN_BAD);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(judge(SECRET, text, NOW, &user_id), TOKEN_GOOD);
        cr_assert_eq(user_id, 42);
    }
    /* Only what is remembered passes without its secret, of which a process has one. */
    cr_assert_eq(judge("another secret of thirty-two bytes", text, NOW, &user_id), TOKEN_GOOD);
    cr_assert_eq(user_id, 42);
}

Test(tokens, are_good_for_no_longer_than_they_say)
{
    AUTO(mem_free) char *text = make(TOKEN_ACCESS, 42);
    int64_t user_id;

    cr_assert_eq(judge(SECRET, text, NOW, &user_id), TOKEN_GOOD);
    cr_assert_eq(
        judge(SECRET, text, NOW + (TOKEN_ACCESS_S + TOKEN_SKEW_S - 1) * US_PER_S, &user_id),
        TOKEN_GOOD);
    cr_assert_eq(judge(SECRET, text, NOW + (TOKEN_ACCESS_S + TOKEN_SKEW_S) * US_PER_S, &user_id),
                 TOKEN_BAD);
}

Test(tokens, one_byte_makes_another_token)
{
    AUTO(mem_free) char *text = make(TOKEN_ACCESS, 42);
    size_t len = strlen(text);
    struct token_claims claims;
    int64_t user_id;

    cr_assert_eq(judge(SECRET, text, NOW, &user_id), TOKEN_GOOD);
    for (size_t i = 0; i < len; i++) {
        char was = text[i];

        text[i] = was == 'A' ? 'B' : 'A';
        cr_assert_eq(judge(SECRET, text, NOW, &user_id), TOKEN_BAD, "byte %zu", i);
        text[i] = was;
        cr_assert_eq(tokens_read(&(struct token_keys){.present = SECRET}, text, i, NOW, &claims),
                     TOKEN_BAD, "%zu bytes", i);
    }
    cr_assert_eq(judge(SECRET, text, NOW, &user_id), TOKEN_GOOD);
}

Test(tokens, refresh_tokens_and_long_ones_are_not_remembered)
{
    AUTO(mem_free) char *refresh = make(TOKEN_REFRESH, 42);
    char large[TOKEN_SIZE_MAX + 100];
    int64_t user_id;

    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(judge(SECRET, refresh, NOW, &user_id), TOKEN_WRONG_KIND);
        cr_assert_eq(judge(SECRET, large, NOW, &user_id), TOKEN_BAD);
    }
}

Test(tokens, more_than_are_remembered_are_still_told_apart)
{
    enum { COUNT = 3000 };
    static char *texts[COUNT];
    int64_t user_id;

    for (int i = 0; i < COUNT; i++) {
        texts[i] = make(TOKEN_ACCESS, i + 1);
        cr_assert_eq(judge(SECRET, texts[i], NOW, &user_id), TOKEN_GOOD);
    }
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(judge(SECRET, texts[i], NOW, &user_id), TOKEN_GOOD);
        cr_assert_eq(user_id, i + 1);
        mem_free(texts[i]);
    }
}
