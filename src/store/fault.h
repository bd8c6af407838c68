/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that fails on request: wraps another and makes the n-th call of an operation fail in a given way,
 * for tests and for drills (`serve --fault SPEC`).
 */
#ifndef DOORBUSTER_STORE_FAULT_H
#define DOORBUSTER_STORE_FAULT_H

#include "store/store.h"

/*
 * SPEC is a comma-separated list of "OPERATION:N:FAULT" with OPERATION in commit, load, probe, read; N counts
 * that operation's calls from 1 ("3" the third, "3+" the third and all later, "3-7" a range); FAULT in
 *   full     nothing is written, ERR_FULL
 *   io       nothing is written, ERR_IO
 *   unknown-lost     nothing is written, but ERR_COMMIT_UNKNOWN is reported (a flush that failed)
 *   unknown-kept     it is written, but ERR_COMMIT_UNKNOWN is reported
 *   crash-before     the process ends at once (_exit 9) before the call
 *   crash-after      the process ends at once after the call and before its answer
 * The first rule that matches a call decides. After a commit or probe was reported as unknown, all later ones
 * get ERR_IO and write nothing, as the embedded store does it (sqlite_wal.c); a shared store goes on. An
 * empty SPEC is no fault at all. Takes over `inner`, also in case of error. ERR_USAGE: the text is none of
 * this; the message says where.
 */
MUST_CHECK enum err fault_store_wrap(
    struct store *inner, const char *spec, struct store **store, struct error *error);

#endif
