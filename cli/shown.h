/* SPDX-License-Identifier: MIT
 *
 * What the command line prints is obeyed by a terminal: an escape sequence in the error of a job
 * could move its cursor, clear it, or set its title. So all that goes to standard output passes
 * here, whichever verb prints it.
 */
#ifndef CLI_SHOWN_H
#define CLI_SHOWN_H

/* From here on control characters (C0 but tab and line feed, DEL, C1) are printed as \u001b: in
 * JSON that is the same text, elsewhere it can be read. */
void shown_begin(void);

#endif
