/* The gofer against a sentry that asks properly, and against a hostile one. It runs as it does in
 * production: in a process of its own, sandboxed, on the other end of a socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "boot/gofer/gofer.h"
#include "sentry/fs/host/protocol.h"
#include "host_tree.h"

struct fixture {
	char dir[64];
	pid_t pid;
	int sock;    /* read-write mount */
	int ro_sock; /* the same tree, read-only */
	char data[GOFER_DATA_MAX];
	struct gofer_reply reply;
	int fd; /* the reply's */
};

static void in_dir(const struct fixture *f, const char *name, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", f->dir, name);
}

static void put_file(const struct fixture *f, const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	in_dir(f, name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int start(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct gofer_mount mounts[2];
	int a[2], b[2];
	char path[256];

	strcpy(f->dir, "/tmp/moat-gofer-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	in_dir(f, "d", path, sizeof(path));
	mkdir(path, 0755);
	put_file(f, "secret", "root's own\n", 0600);
	put_file(f, "d/file", "hello", 0644);
	in_dir(f, "link", path, sizeof(path));
	assert_int_equal(symlink("/etc/passwd", path), 0);
	in_dir(f, "up", path, sizeof(path));
	assert_int_equal(symlink("..", path), 0);
	in_dir(f, "fifo", path, sizeof(path));
	assert_int_equal(mkfifo(path, 0666), 0);
	assert_int_equal(gofer_mount_open(f->dir, false, &mounts[0], NULL), 0);
	assert_int_equal(gofer_mount_open(f->dir, true, &mounts[1], NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b), 0);
	f->pid = fork();
	if (f->pid == 0) {
		int sockets[2] = {a[1], b[1]};

		close(a[0]);
		close(b[0]);
		_exit(gofer_main(mounts, 2, sockets, false, NULL));
	}
	close(a[1]);
	close(b[1]);
	f->sock = a[0];
	f->ro_sock = b[0];
	for (int i = 0; i < 2; i++)
		close(mounts[i].root_fd);
	f->fd = -1;
	*state = f;
	return 0;
}

static int stop(void **state)
{
	struct fixture *f = *state;
	char command[128];
	int status;

	close(f->sock);
	close(f->ro_sock);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (f->fd >= 0)
		close(f->fd);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Sends one message; the reply's error, or -EPIPE when the gofer hung up. */
static int transact(struct fixture *f, int sock, const void *msg, size_t n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov[2] = {{&f->reply, sizeof(f->reply)}, {f->data, sizeof(f->data)}};
	struct msghdr m = {.msg_iov = iov,
			   .msg_iovlen = 2,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t got;

	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	if (send(sock, msg, n, MSG_NOSIGNAL) < 0)
		return -errno;
	got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	if (got <= 0)
		return -EPIPE;
	assert_true((size_t)got >= sizeof(f->reply));
	assert_int_equal(f->reply.size, got);
	if (CMSG_FIRSTHDR(&m))
		memcpy(&f->fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	assert_int_equal(f->reply.has_fd, f->fd >= 0);
	return f->reply.error;
}

static int ask_with(struct fixture *f, int sock, struct gofer_request req, const char *path,
		    const char *path2, const void *data, size_t data_len)
{
	char msg[GOFER_REQUEST_MAX];
	char *p = msg + sizeof(req);

	req.version = GOFER_VERSION;
	req.path_len = strlen(path);
	req.path2_len = strlen(path2);
	req.data_len = data_len;
	req.size = sizeof(req) + req.path_len + req.path2_len + data_len;
	memcpy(msg, &req, sizeof(req));
	memcpy(p, path, req.path_len);
	memcpy(p + req.path_len, path2, req.path2_len);
	if (data_len)
		memcpy(p + req.path_len + req.path2_len, data, data_len);
	return transact(f, sock, msg, req.size);
}

#define ask(f, sock, path, ...)                                                                    \
	ask_with(f, sock, (struct gofer_request){__VA_ARGS__}, path, "", "", 0)

static void attach_donates_an_o_path_root(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, f->sock, "", .op = GOFER_ATTACH), 0);
	assert_true(f->fd >= 0);
	assert_int_equal(fcntl(f->fd, F_GETFL) & O_PATH, O_PATH);
	assert_int_equal(f->reply.flags & GOFER_ATTACH_READONLY, 0);
	assert_true(S_ISDIR(f->reply.stat.mode));
	/* A second time, too: the gofer did not give its own fd away. */
	assert_int_equal(ask(f, f->sock, "", .op = GOFER_ATTACH), 0);
	assert_int_equal(ask(f, f->ro_sock, "", .op = GOFER_ATTACH), 0);
	assert_int_equal(f->reply.flags & GOFER_ATTACH_READONLY, GOFER_ATTACH_READONLY);
}

static void open_answers_with_an_fd_and_attributes(void **state)
{
	struct fixture *f = *state;
	char buf[16];

	assert_int_equal(ask(f, f->sock, "d/file", .op = GOFER_OPEN, .flags = O_RDONLY), 0);
	assert_int_equal(read(f->fd, buf, sizeof(buf)), 5);
	assert_int_equal(f->reply.stat.size, 5);
	assert_int_equal(ask(f, f->sock, "secret", .op = GOFER_OPEN, .flags = O_RDWR), 0);
	assert_int_equal(ask(f, f->sock, "d", .op = GOFER_OPEN, .flags = O_DIRECTORY), 0);
	assert_int_equal(ask(f, f->sock, "link", .op = GOFER_OPEN, .flags = O_PATH), 0);
	assert_true(S_ISLNK(f->reply.stat.mode));
	assert_int_equal(ask(f, f->sock, "link", .op = GOFER_READLINK), 0);
	assert_int_equal(f->reply.data_len, 11);
	assert_memory_equal(f->data, "/etc/passwd", 11);
	assert_int_equal(ask(f, f->sock, "d", .op = GOFER_READDIR), 0);
	assert_true(f->reply.data_len > 0);
	assert_int_equal(ask(f, f->sock, "nothing", .op = GOFER_STAT), -ENOENT);
	assert_int_equal(ask(f, f->sock, "", .op = GOFER_STATFS), 0);
}

static void no_path_leads_out_of_the_root(void **state)
{
	static const char *const paths[] = {
		"..",	    "../etc/passwd", "d/../..", "d/..",	   "/etc/passwd",
		"/",	    "link",	     "up/etc",	"up",	   ".",
		"./d",	    "d//file",	     "d/",	"d/file/", "link/../passwd",
		"up/../..",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_true(ask(f, f->sock, paths[i], .op = GOFER_OPEN) < 0);
		assert_int_equal(f->fd, -1);
		assert_true(ask(f, f->sock, paths[i], .op = GOFER_CREATE, .mode = 0644) < 0);
		assert_true(ask(f, f->sock, paths[i], .op = GOFER_UNLINK) < 0 ||
			    !strcmp(paths[i], "link") || !strcmp(paths[i], "up"));
		assert_true(ask_with(f, f->sock, (struct gofer_request){.op = GOFER_RENAME},
				     "d/file", paths[i], "", 0) < 0 ||
			    !strcmp(paths[i], "link") || !strcmp(paths[i], "up"));
	}
}

static void fifos_and_devices_are_never_opened(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, f->sock, "fifo", .op = GOFER_OPEN), -EACCES);
	assert_int_equal(ask(f, f->sock, "fifo", .op = GOFER_OPEN, .flags = O_WRONLY), -EACCES);
	assert_int_equal(ask(f, f->sock, "n", .op = GOFER_MKNOD, .mode = S_IFCHR | 0666), -EPERM);
	assert_int_equal(ask(f, f->sock, "n", .op = GOFER_MKNOD, .mode = S_IFBLK | 0666), -EPERM);
	assert_int_equal(ask(f, f->sock, "n", .op = GOFER_MKNOD, .mode = 0666), -EPERM);
	assert_int_equal(ask(f, f->sock, "n", .op = GOFER_OPEN, .flags = O_CREAT | O_RDWR),
			 -EINVAL);
	assert_int_equal(ask(f, f->sock, "n", .op = GOFER_OPEN, .flags = O_ACCMODE), -EINVAL);
}

static void changes_have_the_owner_and_mode_asked_for(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[256];

	assert_int_equal(
		ask(f, f->sock, "new", .op = GOFER_CREATE, .mode = 04640, .uid = 1234, .gid = 77),
		0);
	assert_true(f->fd >= 0);
	assert_int_equal(f->reply.stat.mode, S_IFREG | 04640);
	in_dir(f, "new", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	if (geteuid() == 0) {
		assert_int_equal(st.st_uid, 1234);
		assert_int_equal(st.st_gid, 77);
	}
	assert_int_equal(ask(f, f->sock, "new", .op = GOFER_CREATE, .mode = 0600), -EEXIST);
	assert_int_equal(ask(f, f->sock, "sub", .op = GOFER_MKDIR, .mode = 01777, .uid = 5), 0);
	assert_int_equal(f->reply.stat.mode, S_IFDIR | 01777);
	assert_int_equal(ask_with(f, f->sock, (struct gofer_request){.op = GOFER_SYMLINK, .uid = 5},
				  "sub/l", "", "target", 6),
			 0);
	assert_int_equal(f->reply.stat.mode & S_IFMT, S_IFLNK);
	assert_int_equal(ask(f, f->sock, "sub/p", .op = GOFER_MKNOD, .mode = S_IFIFO | 0600), 0);
	assert_int_equal(ask_with(f, f->sock, (struct gofer_request){.op = GOFER_LINK}, "new",
				  "sub/hard", "", 0),
			 0);
	assert_int_equal(f->reply.stat.nlink, 2);
	assert_int_equal(ask_with(f, f->sock, (struct gofer_request){.op = GOFER_RENAME},
				  "sub/hard", "moved", "", 0),
			 0);
	assert_int_equal(ask(f, f->sock, "moved", .op = GOFER_SETATTR,
			     .valid = GOFER_SET_SIZE | GOFER_SET_MODE | GOFER_SET_MTIME,
			     .mode = 0400, .arg = 4096, .mtime = {.sec = 1000, .nsec = 5}),
			 0);
	assert_int_equal(f->reply.stat.size, 4096);
	assert_int_equal(f->reply.stat.mode, S_IFREG | 0400);
	assert_int_equal(f->reply.stat.mtime.sec, 1000);
	assert_int_equal(f->reply.stat.mtime.nsec, 5);
	assert_int_equal(ask(f, f->sock, "sub", .op = GOFER_UNLINK), -EISDIR);
	assert_int_equal(ask(f, f->sock, "sub", .op = GOFER_UNLINK, .flags = AT_REMOVEDIR),
			 -ENOTEMPTY);
	assert_int_equal(ask(f, f->sock, "sub/p", .op = GOFER_UNLINK), 0);
	assert_int_equal(ask(f, f->sock, "sub/l", .op = GOFER_UNLINK), 0);
	assert_int_equal(ask(f, f->sock, "sub", .op = GOFER_UNLINK, .flags = AT_REMOVEDIR), 0);
}

static void a_symlink_gets_the_owner_not_its_target(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(ask(f, f->sock, "link", .op = GOFER_SETATTR,
			     .valid = GOFER_SET_UID | GOFER_SET_GID, .uid = 4242, .gid = 4242),
			 0);
	assert_int_equal(f->reply.stat.uid, 4242);
	assert_int_equal(stat("/etc/passwd", &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_true(ask(f, f->sock, "link", .op = GOFER_SETATTR, .valid = GOFER_SET_MODE,
			.mode = 0777) < 0);
	assert_true(ask(f, f->sock, "link", .op = GOFER_SETATTR, .valid = GOFER_SET_SIZE) < 0);
	assert_int_equal(stat("/etc/passwd", &st), 0);
	assert_true(st.st_size > 0);
}

static void xattrs_of_other_namespaces_are_refused(void **state)
{
	struct fixture *f = *state;
	struct gofer_request set = {.op = GOFER_SETXATTR}, get = {.op = GOFER_GETXATTR};
	int ret;

	assert_int_equal(ask_with(f, f->sock, set, "d/file", "trusted.overlay.opaque", "y", 1),
			 -EOPNOTSUPP);
	assert_int_equal(ask_with(f, f->sock, set, "d/file", "security.selinux", "y", 1),
			 -EOPNOTSUPP);
	assert_int_equal(ask_with(f, f->sock, set, "d/file", "", "y", 1), -ERANGE);
	ret = ask_with(f, f->sock, set, "d/file", "user.x", "yes", 3);
	if (ret == -EOPNOTSUPP)
		skip(); /* a tmpfs before Linux 6.6 */
	assert_int_equal(ret, 0);
	assert_int_equal(ask_with(f, f->sock, get, "d/file", "user.x", "", 0), 0);
	assert_int_equal(f->reply.data_len, 3);
	assert_int_equal(ask(f, f->sock, "d/file", .op = GOFER_LISTXATTR), 0);
	assert_int_equal(f->reply.data_len, 7);
}

static void a_read_only_mount_refuses_every_change(void **state)
{
	static const int ops[] = {
		GOFER_CREATE, GOFER_MKDIR,  GOFER_MKNOD,   GOFER_SYMLINK,  GOFER_LINK,
		GOFER_UNLINK, GOFER_RENAME, GOFER_SETATTR, GOFER_SETXATTR, GOFER_REMOVEXATTR,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		assert_int_equal(ask(f, f->ro_sock, "d/file", .op = ops[i]), -EROFS);
	assert_int_equal(ask(f, f->ro_sock, "d/file", .op = GOFER_OPEN, .flags = O_WRONLY), -EROFS);
	assert_int_equal(ask(f, f->ro_sock, "d/file", .op = GOFER_OPEN, .flags = O_RDWR), -EROFS);
	assert_int_equal(ask(f, f->ro_sock, "d/file", .op = GOFER_OPEN), 0);
	assert_int_equal(ask(f, f->ro_sock, "", .op = GOFER_ATTACH), 0);
	/* The donated fd does not get around it either, where the tree could be cloned. */
	if (geteuid() == 0)
		assert_int_equal(openat(f->fd, "d/file", O_WRONLY), -1);
}

/* Each of these closes the socket, and does no more: the other mount goes on. */
static void malformed_messages_cost_the_socket(void **state)
{
	struct fixture *f = *state;
	struct gofer_request good = {
		.version = GOFER_VERSION, .size = sizeof(good), .op = GOFER_STAT};
	struct gofer_request bad = good;
	char *huge = calloc(1, GOFER_REQUEST_MAX + 4096);
	int which = (int)(intptr_t)f->data[0];
	size_t n = sizeof(bad);

	switch (which) {
	case 0:
		n = sizeof(bad) - 1;
		break;
	case 1:
		bad.version = 99;
		break;
	case 2:
		bad.op = GOFER_OP_END;
		break;
	case 3:
		bad.op = 0;
		break;
	case 4:
		bad.path_len = 5;
		break;
	case 5:
		bad.path_len = 0xfffffff0u;
		bad.path2_len = 0x10;
		break;
	case 6:
		bad.size = 1 << 20;
		break;
	case 7:
		n = GOFER_REQUEST_MAX + 4096;
		bad.size = n;
		break;
	case 8: /* a NUL inside the path */
		bad.path_len = 2;
		bad.size = n = sizeof(bad) + 2;
		break;
	case 9:
		bad.data_len = GOFER_DATA_MAX + 1;
		bad.size = n = sizeof(bad) + GOFER_DATA_MAX + 1;
		break;
	case 10:
		n = 1;
		break;
	}
	memcpy(huge, &bad, sizeof(bad));
	assert_int_equal(transact(f, f->sock, huge, n), -EPIPE);
	assert_int_equal(transact(f, f->ro_sock, &good, sizeof(good)), 0);
	free(huge);
}

static void each_malformed_message(void **state)
{
	for (int i = 0; i <= 10; i++) {
		struct fixture *f;

		start(state);
		f = *state;
		f->data[0] = i;
		malformed_messages_cost_the_socket(state);
		stop(state);
	}
}

static void fds_from_the_sentry_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct gofer_request req = {
		.version = GOFER_VERSION, .size = sizeof(req), .op = GOFER_STAT};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {&req, sizeof(req)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct pollfd p;
	int pipe_fds[2];

	assert_int_equal(pipe(pipe_fds), 0);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &pipe_fds[1], sizeof(int));
	assert_int_equal(sendmsg(f->sock, &m, 0), sizeof(req));
	close(pipe_fds[1]);
	assert_int_equal(recv(f->sock, &f->reply, sizeof(f->reply), 0), sizeof(f->reply));
	assert_int_equal(f->reply.error, 0);
	/* Nobody holds the pipe's write end any more. */
	p = (struct pollfd){.fd = pipe_fds[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_true(p.revents & POLLHUP);
	close(pipe_fds[0]);
}

struct swapper {
	const struct fixture *f;
	atomic_bool stop;
};

/* Makes "s" a directory and a symbolic link out of the tree in turn. */
static void *swap(void *arg)
{
	struct swapper *s = arg;
	char dir[256], link[256], name[256];

	in_dir(s->f, "s-dir", dir, sizeof(dir));
	in_dir(s->f, "s-link", link, sizeof(link));
	in_dir(s->f, "s", name, sizeof(name));
	while (!atomic_load(&s->stop)) {
		rename(dir, name);
		rename(name, dir);
		rename(link, name);
		rename(name, link);
	}
	return NULL;
}

static void a_directory_swapped_for_a_symlink_does_not_lead_out(void **state)
{
	struct fixture *f = *state;
	struct swapper s = {.f = f};
	pthread_t thread;
	char path[256], buf[64] = "";
	int opened = 0;

	in_dir(f, "s-dir", path, sizeof(path));
	mkdir(path, 0755);
	put_file(f, "s-dir/passwd", "inside", 0644);
	in_dir(f, "s-link", path, sizeof(path));
	assert_int_equal(symlink("/etc", path), 0);
	pthread_create(&thread, NULL, swap, &s);
	for (int i = 0; i < 5000; i++) {
		if (ask(f, f->sock, "s/passwd", .op = GOFER_OPEN) == 0) {
			ssize_t n = read(f->fd, buf, sizeof(buf));

			assert_int_equal(n, 6);
			assert_memory_equal(buf, "inside", 6);
			opened++;
		}
		assert_true(ask(f, f->sock, "s/planted", .op = GOFER_CREATE, .mode = 0644) <= 0);
		assert_int_equal(access("/etc/planted", F_OK), -1);
		ask(f, f->sock, "s/planted", .op = GOFER_UNLINK);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_true(opened >= 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attach_donates_an_o_path_root, start, stop),
		cmocka_unit_test_setup_teardown(open_answers_with_an_fd_and_attributes, start,
						stop),
		cmocka_unit_test_setup_teardown(no_path_leads_out_of_the_root, start, stop),
		cmocka_unit_test_setup_teardown(fifos_and_devices_are_never_opened, start, stop),
		cmocka_unit_test_setup_teardown(changes_have_the_owner_and_mode_asked_for, start,
						stop),
		cmocka_unit_test_setup_teardown(a_symlink_gets_the_owner_not_its_target, start,
						stop),
		cmocka_unit_test_setup_teardown(xattrs_of_other_namespaces_are_refused, start,
						stop),
		cmocka_unit_test_setup_teardown(a_read_only_mount_refuses_every_change, start,
						stop),
		cmocka_unit_test(each_malformed_message),
		cmocka_unit_test_setup_teardown(fds_from_the_sentry_are_dropped, start, stop),
		cmocka_unit_test_setup_teardown(a_directory_swapped_for_a_symlink_does_not_lead_out,
						start, stop),
	};

	host_tree_without(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
