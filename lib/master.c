/* A master: its sandbox, and the connections to it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/internal.h"

int lib_fail(struct moat_error *err, int number, const char *fmt, ...)
{
	va_list ap;

	number = number < 0 ? -number : number;
	if (!err)
		return -number;
	err->number = number;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -number;
}

/* --- connections ------------------------------------------------------------------------------ */

/* One more: a socket pair, of which the sandbox is sent an end. Lock held. */
static int attach(struct moat *m, struct control_client **out, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;
	struct control_error e;
	int sv[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return lib_fail(err, errno, "socketpair: %s", strerror(errno));
	request.call_case = MOAT__REQUEST__CALL_ATTACH;
	request.attach = &empty;
	ret = control_client_call(m->owner, &request, &sv[1], 1, ANSWER_MS, NULL, &e);
	close(sv[1]);
	if (ret) {
		close(sv[0]);
		return lib_fail(err, ret, "%s", e.text);
	}
	ret = control_client_new(sv[0], NULL, out);
	return ret ? lib_fail(err, ret, "the sandbox is gone") : 0;
}

int connection_take(struct moat *m, struct control_client **out, struct moat_error *err)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (m->nidle)
		*out = m->idle[--m->nidle];
	else
		ret = attach(m, out, err);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void connection_return(struct moat *m, struct control_client *c, bool broken)
{
	if (!broken) {
		pthread_mutex_lock(&m->lock);
		if (m->nidle < ARRAY_SIZE(m->idle)) {
			m->idle[m->nidle++] = c;
			c = NULL;
		}
		pthread_mutex_unlock(&m->lock);
	}
	control_client_free(c);
}

int lib_call(struct moat *m, Moat__Request *request, Moat__Response **response,
	     struct moat_error *err)
{
	struct control_client *c;
	struct control_error e;
	int ret = connection_take(m, &c, err);

	if (ret)
		return ret;
	ret = control_client_call(c, request, NULL, 0, ANSWER_MS, response, &e);
	/* An answer that comes too late would be taken for the next one's. */
	connection_return(m, c, ret == -ETIMEDOUT || ret == -EPIPE || ret == -EPROTO);
	return ret ? lib_fail(err, ret, "%s", e.text) : 0;
}

/* --- life ------------------------------------------------------------------------------------- */

int moat_new(const struct moat_config *given, struct moat **out, struct moat_error *err)
{
	struct moat_config config = {0};
	struct moat *m;
	int sock = -1, ret;

	*out = NULL;
	if (given && (!given->size || given->size > sizeof(config)))
		return lib_fail(err, EINVAL, "the configuration's size is not known");
	if (given)
		memcpy(&config, given, given->size);
	m = calloc(1, sizeof(*m));
	if (!m)
		return lib_fail(err, ENOMEM, "no memory");
	pthread_mutex_init(&m->lock, NULL);
	ret = config.pool ? sandbox_from_pool(config.pool, &sock, err)
			  : sandbox_launch(&config, &sock, &m->helper, err);
	if (!ret) {
		ret = control_client_new(sock, NULL, &m->owner);
		if (ret)
			lib_fail(err, ret, "the sandbox is gone");
	}
	if (ret) {
		moat_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

void moat_destroy(struct moat *m)
{
	if (!m)
		return;
	while (m->nidle)
		control_client_free(m->idle[--m->nidle]);
	control_client_free(m->owner);
	/* It ends with its owner's connection. */
	while (m->helper && waitpid(m->helper, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int moat_ping(struct moat *m, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	char id[] = ROOT_ID;

	name.id = id;
	request.call_case = MOAT__REQUEST__CALL_STATUS;
	request.status = &name;
	return lib_call(m, &request, NULL, err);
}

int moat_reset(struct moat *m, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	char id[] = ROOT_ID;

	name.id = id;
	request.call_case = MOAT__REQUEST__CALL_RESET;
	request.reset = &name;
	return lib_call(m, &request, NULL, err);
}
