/* From a request to the method of a service, and back to its connection. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/internal.h"

int control_fail(struct control_error *err, int number, const char *fmt, ...)
{
	va_list ap;

	err->number = number < 0 ? -number : number;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -err->number;
}

const struct service_method *dispatch_find(Moat__Request__CallCase kind)
{
	const struct service_method *m = NULL;

	if (kind > 0 && kind < CONTAINER_METHODS_END)
		m = &container_methods[kind];
	else if (kind >= MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES &&
		 kind <= MOAT__REQUEST__CALL_PROFILE)
		m = &debug_methods[kind - MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES];
	return m && m->run ? m : NULL;
}

const struct control_backend *call_backend(const struct control_call *call)
{
	return call->connection->server->backend;
}

void *call_ctx(const struct control_call *call)
{
	return call->connection->server->ctx;
}

uint64_t control_call_connection(const struct control_call *call)
{
	return call->connection->id;
}

static void call_free(struct control_call *call)
{
	close_fds(call->fds, call->nfds);
	frame_free(call->frame);
	connection_put(call->connection);
	free(call);
}

static void forget_pending(struct connection *c, uint64_t id)
{
	MUTEX_GUARD(&c->lock);
	for (unsigned i = 0; i < c->npending; i++)
		if (c->pending[i] == id) {
			c->pending[i] = c->pending[--c->npending];
			break;
		}
}

void call_reply(struct control_call *call, Moat__Response *response)
{
	Moat__Frame frame = MOAT__FRAME__INIT;
	unsigned char *data;
	size_t size = 0;

	response->id = call->request->id;
	frame.kind_case = MOAT__FRAME__KIND_RESPONSE;
	frame.response = response;
	data = frame_pack(&frame, &size);
	if (!data) {
		Moat__Response sorry = MOAT__RESPONSE__INIT;
		Moat__Error error = MOAT__ERROR__INIT;
		char text[] = "the answer is too large";

		error.number = E2BIG;
		error.message = text;
		sorry.id = call->request->id;
		sorry.error = &error;
		frame.response = &sorry;
		data = frame_pack(&frame, &size);
	}
	/* Before the client can know: it may use the id again at once. */
	forget_pending(call->connection, call->request->id);
	if (data)
		connection_send(call->connection, data, size);
	call_free(call);
}

void call_reply_empty(struct control_call *call)
{
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;

	response.result_case = MOAT__RESPONSE__RESULT_EMPTY;
	response.empty = &empty;
	call_reply(call, &response);
}

void control_reply_exit(struct control_call *call, const struct control_exit *how)
{
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__ExitStatus status = MOAT__EXIT_STATUS__INIT;

	status.wait_status = how->wait_status;
	status.reason = how->reason;
	status.user_ns = how->user_ns;
	status.kernel_ns = how->kernel_ns;
	status.wall_ns = how->wall_ns;
	status.memory_peak = how->memory_peak;
	status.calls = (uint64_t *)(uintptr_t)how->calls;
	status.n_calls = how->ncalls;
	response.result_case = MOAT__RESPONSE__RESULT_EXIT_STATUS;
	response.exit_status = &status;
	call_reply(call, &response);
}

void control_reply_error(struct control_call *call, int number, const char *text)
{
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Error error = MOAT__ERROR__INIT;
	char line[512];

	snprintf(line, sizeof(line), "%s", text);
	error.number = number < 0 ? -number : number;
	error.message = line;
	response.error = &error;
	call_reply(call, &response);
}

void call_run(struct control_call *call)
{
	struct control_error err = {.number = EIO, .text = ""};

	if (call->method->run(call, call->request, &err))
		control_reply_error(call, err.number, err.text);
}

void dispatch_request(struct connection *c, Moat__Frame *frame, int *fds, unsigned nfds)
{
	const Moat__Request *request = frame->request;
	struct control_call *call = calloc(1, sizeof(*call));
	char text[64];

	if (!call) {
		close_fds(fds, nfds);
		frame_free(frame);
		connection_break(c); /* no memory to say so */
		return;
	}
	connection_get(c);
	call->connection = c;
	call->frame = frame;
	call->request = request;
	memcpy(call->fds, fds, nfds * sizeof(int));
	call->nfds = nfds;
	call->method = dispatch_find(request->call_case);
	if (!call->method) {
		snprintf(text, sizeof(text), "no such call: %d", (int)request->call_case);
		control_reply_error(call, ENOSYS, text);
	} else if (request->descriptors != nfds || nfds > call->method->fds_max) {
		snprintf(text, sizeof(text), "%s: %u descriptors came, %u were announced",
			 call->method->name, nfds, request->descriptors);
		control_reply_error(call, EINVAL, text);
	} else if (call->method->slow) {
		workers_add(&c->server->workers, call);
	} else {
		call_run(call);
	}
}
