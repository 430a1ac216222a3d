#include "fake_backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int fake_create(void *ctx, const Moat__Create *create, int *fds, unsigned nfds,
		       struct control_error *err)
{
	struct fake *f = ctx;

	f->created_fds += (int)nfds;
	if (!strcmp(create->id, "bad"))
		return control_fail(err, EEXIST, "there is one\nalready");
	return 0;
}

static int fake_begin(void *ctx, const char *id, bool root, struct control_error *err)
{
	struct fake *f = ctx;

	while (f->block_start)
		usleep(1000);
	return 0;
}

static int fake_create_links(void *ctx, const Moat__CreateLinksAndRoutes *links, int *fds,
			     unsigned nfds, struct control_error *err)
{
	struct fake *f = ctx;

	f->linked++;
	return 0;
}

static int fake_destroy(void *ctx, const char *id, struct control_error *err)
{
	return control_fail(err, ENOENT, "no container '%s'", id);
}

static int fake_execute(void *ctx, const Moat__Execute *execute, uint64_t connection, int *fds,
			unsigned nfds, int *pid, struct control_error *err)
{
	*pid = 42;
	return 0;
}

static int fake_pause(void *ctx, const char *id, bool pause, struct control_error *err)
{
	return 0;
}

static int fake_processes(void *ctx, const char *id, Moat__ProcessList *list,
			  struct control_error *err)
{
	list->processes = calloc(1, sizeof(*list->processes));
	list->processes[0] = calloc(1, sizeof(**list->processes));
	moat__process__init(list->processes[0]);
	list->processes[0]->pid = 7;
	list->processes[0]->command = strdup("sleep");
	list->n_processes = 1;
	return 0;
}

static int fake_event(void *ctx, const char *id, Moat__Stats *stats, struct control_error *err)
{
	stats->pids = 3;
	return 0;
}

static int fake_update(void *ctx, const Moat__Update *update, struct control_error *err)
{
	return update->set_memory_limit ? control_fail(err, EOPNOTSUPP, "no limit") : 0;
}

static int fake_status(void *ctx, const char *id, Moat__Status *status, struct control_error *err)
{
	status->state = MOAT__STATUS__STATE__RUNNING;
	return 0;
}

static int fake_signal(void *ctx, const struct control_target *to, int sig,
		       struct control_error *err)
{
	struct fake *f = ctx;

	f->last_signal = sig;
	f->signals++;
	return 0;
}

static int fake_resize(void *ctx, const char *id, int pid, struct control_error *err)
{
	return 0;
}

static int fake_wait(void *ctx, const char *id, int pid, bool bound, struct control_call *call,
		     struct control_error *err)
{
	struct fake *f = ctx;

	f->waiting = call;
	return 0;
}

static int fake_file_read(void *ctx, const Moat__FileRead *what, unsigned char **data, size_t *size,
			  uint64_t *total, struct control_error *err)
{
	((struct fake *)ctx)->files++;
	*size = *total = what->size;
	*data = calloc(1, what->size + 1);
	return 0;
}

static int fake_file_write(void *ctx, const Moat__FileWrite *what, struct control_error *err)
{
	((struct fake *)ctx)->files++;
	return 0;
}

static int fake_file_delete(void *ctx, const Moat__FileDelete *what, struct control_error *err)
{
	((struct fake *)ctx)->files++;
	return 0;
}

static int fake_file_list(void *ctx, const Moat__FileName *what, Moat__FileList *list,
			  struct control_error *err)
{
	((struct fake *)ctx)->files++;
	return 0;
}

static char *fake_stacks(void *ctx)
{
	return strdup("stacks");
}

static void fake_set_strace(void *ctx, bool on)
{
}

static void fake_disconnected(void *ctx, uint64_t connection)
{
	((struct fake *)ctx)->disconnects++;
}

static void fake_abandoned(void *ctx)
{
	((struct fake *)ctx)->abandoned++;
}

static const struct control_backend fake_backend = {
	.create = fake_create,
	.start = fake_begin,
	.destroy = fake_destroy,
	.execute = fake_execute,
	.pause = fake_pause,
	.processes = fake_processes,
	.event = fake_event,
	.update = fake_update,
	.status = fake_status,
	.create_links = fake_create_links,
	.signal = fake_signal,
	.resize = fake_resize,
	.reset = fake_destroy,
	.file_read = fake_file_read,
	.file_write = fake_file_write,
	.file_delete = fake_file_delete,
	.file_list = fake_file_list,
	.wait = fake_wait,
	.stacks = fake_stacks,
	.set_strace = fake_set_strace,
	.disconnected = fake_disconnected,
	.abandoned = fake_abandoned,
};

static int listener(struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)addr, len), 0);
	assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

static void *serve(void *arg)
{
	control_server_run(arg);
	return NULL;
}

void fake_start(struct fake *f)
{
	static int starts;
	struct control_server_config config = {
		.backend = &fake_backend,
		.ctx = f,
		.uid = geteuid(),
	};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sv[2];

	memset(f, 0, sizeof(*f));
	memset(config.token, 7, sizeof(config.token));
	/* Each its own: one that failed has not stopped its server. */
	snprintf(f->path, sizeof(f->path), "/tmp/moat-control-test.%d.%d", getpid(), ++starts);
	strcpy(addr.sun_path, f->path);
	unlink(f->path);
	config.path_listener = listener(&addr, sizeof(addr));
	/* An abstract name: the same behind a NUL. */
	memmove(addr.sun_path + 1, f->path, strlen(f->path));
	addr.sun_path[0] = 0;
	config.abstract_listener =
		listener(&addr, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(f->path)));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	f->owner = sv[0];
	config.owner = sv[1];
	assert_int_equal(control_server_new(&config, &f->server), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f->server), 0);
}

void fake_stop(struct fake *f)
{
	control_server_stop(f->server);
	pthread_join(f->thread, NULL);
	control_server_free(f->server);
	if (f->owner >= 0)
		close(f->owner);
	unlink(f->path);
}

void fake_exit(struct fake *f, uint32_t status)
{
	struct control_call *call;

	while (!(call = atomic_exchange(&f->waiting, NULL)))
		usleep(1000);
	control_reply_exit(call, &(struct control_exit){.wait_status = status});
}

struct control_client *fake_client(struct fake *f)
{
	struct control_client *c;

	assert_int_equal(control_client_connect(f->path, &c), 0);
	return c;
}

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
