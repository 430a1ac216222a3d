/* Entering a container's network namespace by way of a child, and what it sends back. */
#include "boot/net/namespace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/net/read.h"

static bool same_namespace(const struct stat *a, const char *path)
{
	struct stat b;

	return !stat(path, &b) && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* A process other than the sandbox that lives in the namespace, or 0. */
static pid_t find_inhabitant(const struct stat *ns, pid_t sandbox)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (dir && !found && (e = readdir(dir))) {
		char path[sizeof(e->d_name) + 16];
		char *end;
		long pid = strtol(e->d_name, &end, 10);

		if (*end || pid <= 0 || pid == sandbox)
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/ns/net", pid);
		if (same_namespace(ns, path))
			found = (pid_t)pid;
	}
	if (dir)
		closedir(dir);
	return found;
}

int network_open(const struct network_place *place, char *err, size_t errlen)
{
	char own[64];
	const char *path = place->path;
	int __close_fd fd = -1;
	struct stat st;
	pid_t pid;

	if (!path) {
		snprintf(own, sizeof(own), "/proc/%d/ns/net", place->sandbox);
		path = own;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		int ret = -errno;

		snprintf(err, errlen, "network namespace %s: %s", path, strerror(-ret));
		return ret;
	}
	if (same_namespace(&st, "/proc/self/ns/net") || same_namespace(&st, "/proc/1/ns/net")) {
		snprintf(err, errlen, "network namespace %s is the host's", path);
		return -EBUSY;
	}
	pid = place->path ? find_inhabitant(&st, place->sandbox) : 0;
	if (pid) {
		snprintf(err, errlen,
			 "network namespace %s: process %d lives in it, and would lose its "
			 "addresses",
			 path, pid);
		return -EBUSY;
	}
	return steal_fd(&fd);
}

/* --- the child -------------------------------------------------------------------------------- */

static void send_frame(int sock, const Moat__Frame *frame, const int *fds, unsigned nfds)
{
	size_t size = 0, done = 0;
	unsigned char *data = frame_pack(frame, &size);

	while (data && done < size) {
		ssize_t n = frame_send(sock, data + done, size - done, done ? NULL : fds,
				       done ? 0 : nfds);

		if (n < 0)
			break;
		done += (size_t)n;
	}
}

static void send_error(int sock, int error, char *text)
{
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Error e = MOAT__ERROR__INIT;

	e.number = -error;
	e.message = text;
	response.error = &e;
	frame.kind_case = MOAT__FRAME__KIND_RESPONSE;
	frame.response = &response;
	send_frame(sock, &frame, NULL, 0);
}

static void child(int sock, int ns, int user_ns) __noreturn;
static void child(int sock, int ns, int user_ns)
{
	static struct network_read read;
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Request request = MOAT__REQUEST__INIT;
	int ret = 0;

	if ((user_ns >= 0 && setns(user_ns, CLONE_NEWUSER)) || setns(ns, CLONE_NEWNET)) {
		ret = -errno;
		snprintf(read.err, sizeof(read.err), "entering the network namespace: %s",
			 strerror(-ret));
	}
	if (!ret)
		ret = network_read(&read);
	if (ret) {
		send_error(sock, ret, read.err);
		_exit(1);
	}
	request.descriptors = read.nfds;
	request.call_case = MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES;
	request.create_links_and_routes = &read.links;
	frame.kind_case = MOAT__FRAME__KIND_REQUEST;
	frame.request = &request;
	send_frame(sock, &frame, read.fds, read.nfds);
	_exit(0);
}

/* --- the parent ------------------------------------------------------------------------------- */

static int receive(int sock, struct network_found *out, char *err, size_t errlen)
{
	struct frame_reader reader;
	int ret;

	frame_reader_init(&reader, false);
	while ((ret = frame_reader_read(&reader, sock)) == -EAGAIN || ret == -EINTR)
		;
	if (ret == 1) {
		out->frame = frame_unpack(reader.payload, reader.size);
		ret = out->frame ? 0 : -EPROTO;
	}
	if (ret) {
		snprintf(err, errlen, "reading the network namespace: %s", strerror(-ret));
	} else if (out->frame->kind_case == MOAT__FRAME__KIND_REQUEST) {
		out->links = out->frame->request->create_links_and_routes;
		memcpy(out->fds, reader.fds, reader.nfds * sizeof(int));
		out->nfds = reader.nfds;
		reader.nfds = 0;
	} else {
		ret = -EIO;
		snprintf(err, errlen, "%s", out->frame->response->error->message);
	}
	frame_reader_reset(&reader);
	return ret;
}

int network_take(int ns, int user_ns, struct network_found *out, char *err, size_t errlen)
{
	int sv[2], ret;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv)) {
		ret = -errno;
		snprintf(err, errlen, "socketpair: %s", strerror(-ret));
		return ret;
	}
	pid = fork();
	if (pid == 0) {
		close(sv[0]);
		child(sv[1], ns, user_ns);
	}
	ret = pid < 0 ? -errno : 0;
	close(sv[1]);
	if (ret)
		snprintf(err, errlen, "fork: %s", strerror(-ret));
	else
		ret = receive(sv[0], out, err, errlen);
	close(sv[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (ret)
		network_found_free(out);
	return ret;
}

void network_found_free(struct network_found *found)
{
	close_fds(found->fds, found->nfds);
	if (found->frame)
		frame_free(found->frame);
	memset(found, 0, sizeof(*found));
}
