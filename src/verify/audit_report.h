/* SPDX-License-Identifier: Apache-2.0 */
/* What the auditor says, as text for people and as JSON for programs; in memory until the audit stands. */
#ifndef DOORBUSTER_VERIFY_AUDIT_REPORT_H
#define DOORBUSTER_VERIFY_AUDIT_REPORT_H

#include "base/strbuf.h"
#include "verify/audit.h"
#include "verify/journal_reader.h"
#include "verify/snapshot.h"
#include "verify/verify.h"

/* A product takes about 2 KiB of each: enough for 100,000 of them. */
enum { REPORT_BYTES_MAX = 256 * 1024 * 1024 };

struct audit_report {
    struct strbuf text;
    struct strbuf json;
    bool is_quiet;        /* the text holds only what failed */
    size_t section_start; /* in the text */
    bool section_has_failed;
    bool section_has_finding;
    bool is_in_products;
};

/* What stands at the head of a product's section. */
struct product_head {
    struct slice sku;
    bool exists;
    struct slice state;
    struct slice end_reason; /* empty: none */
    int64_t initial_stock;
    int64_t stock;
    int64_t purchases;
    int64_t buyers;
};

void audit_report_init(struct audit_report *report, bool is_quiet);
void audit_report_fini(struct audit_report *report);

/* In this order: the store and its journals, the section of the whole store with its findings, a section for
 * each product with its findings, the verdict. */
void audit_report_sources(struct audit_report *report, const struct verify_options *options,
    const struct snapshot *snapshot, const struct journal_counts *counts);
void audit_report_store_section(struct audit_report *report);
void audit_report_product_section(struct audit_report *report, const struct product_head *head);
void audit_report_finding(struct audit_report *report, const struct finding *finding);
void audit_report_section_end(struct audit_report *report);
void audit_report_verdict(struct audit_report *report, const struct verify_summary *summary);

#endif
