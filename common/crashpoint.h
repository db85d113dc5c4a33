/* SPDX-License-Identifier: MIT
 *
 * Named places at which a test ends the program as kill -9 would:
 *
 *   CRASH_POINT("claim.done");     TILL_CRASHPOINT=claim.done:2 ends it there the second time
 *
 * Several may be given with commas between; each strikes once, counted over all processes of the
 * program, whichever of them comes by. They exist in build/faults/ alone (-DTILL_CRASHPOINTS); what
 * is installed has none of it. tests/faults/test_crash_points.py finds them in the source and
 * visits each.
 */
#ifndef COMMON_CRASHPOINT_H
#define COMMON_CRASHPOINT_H

#ifdef TILL_CRASHPOINTS
void crashpoint_reach(const char *name);
#define CRASH_POINT(name) crashpoint_reach(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
