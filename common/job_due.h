/* SPDX-License-Identifier: MIT
 *
 * What waits for its time and for nothing else, the first due first, by an index of its own. Used
 * by jobs_list() alone, whose index of words says nothing of when a job is due: so words, too, are
 * looked for among the next JOBS_WINDOW_SCATTERED of them, and `is_cut` says that there are more.
 */
#ifndef COMMON_JOB_DUE_H
#define COMMON_JOB_DUE_H

#include "common/job_find.h"

/* Goes on after bounds->cursor of those that are due at `from`; both times as text. Fills the page
 * with up to one more than the filter's limit. */
enum err_code jobs_list_due(struct db *db, const struct jobs_filter *filter,
                            const struct job_bounds *bounds, const char *from, const char *to,
                            struct jobs_page *page, struct err *e) MUST_CHECK;

#endif
