/* SPDX-License-Identifier: Apache-2.0 */
#include "service/service.h"

#include <stdlib.h>

#include "service/closeout.h"
#include "service/worker.h"

struct service {
    struct closeout *closeout;
    struct worker *worker;
};

enum err service_create(
    struct engine *engine, struct store *store, struct service **service_out, struct error *error)
{
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return error_set(error, ERR_MEMORY, "no memory for work for later");
    enum err status = closeout_create(store, &service->closeout, error);
    if (status == ERR_NONE) {
        struct worker_handler handlers[] = {closeout_handler(service->closeout)};
        status =
            worker_create(engine, handlers, sizeof handlers / sizeof handlers[0], &service->worker, error);
    }
    if (status != ERR_NONE) {
        service_destroy(service);
        return status;
    }
    *service_out = service;
    return ERR_NONE;
}

enum err service_start(struct service *service, struct error *error)
{
    return worker_start(service->worker, error);
}

void service_stop(struct service *service)
{
    worker_stop(service->worker);
}

void service_destroy(struct service *service)
{
    if (service->worker != NULL)
        worker_destroy(service->worker);
    if (service->closeout != NULL)
        closeout_destroy(service->closeout);
    free(service);
}

void service_put_metrics(const struct service *service, struct strbuf *text)
{
    worker_put_metrics(service->worker, text);
    closeout_put_metrics(service->closeout, text);
}
