/*
 * The sentry against a gofer that answers with bytes of an attacker's choice: no crash, no leak of
 * descriptors, and no answer that the protocol does not allow gets past the client.
 *
 * The input is a sequence of replies: a byte that says what is right about the next one, two of its
 * length, its bytes. The other side of the socket is a thread that answers whatever is asked.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/host/host.h"
#include "sentry/vfs/vfs_init.h"

#define RIGHT_HEADER 1 /* version, op and size are */
#define RIGHT_ERROR 2  /* none, and the mode is that of a folder or file */
#define WITH_FD 4      /* one comes along */
#define TWO_FDS 8

struct input {
	const uint8_t *bytes;
	size_t n;
	int sock;
};

static size_t take(struct input *in, void *out, size_t n)
{
	n = MIN(n, in->n);
	memcpy(out, in->bytes, n);
	in->bytes += n;
	in->n -= n;
	return n;
}

/* Makes the next reply; its length. */
static size_t next_reply(struct input *in, const struct gofer_request *req, unsigned char *msg,
			 uint8_t *how)
{
	struct gofer_reply *r = (struct gofer_reply *)msg;
	uint16_t want = 0;
	size_t len;

	*how = 0;
	take(in, how, 1);
	take(in, &want, sizeof(want));
	memset(msg, 0, sizeof(*r));
	len = MAX(take(in, msg, MIN(want % 1024u, GOFER_REPLY_MAX)), (size_t)1);
	if (!(*how & RIGHT_HEADER))
		return len;
	len = MAX(len, sizeof(*r));
	r->version = GOFER_VERSION;
	r->op = req->op;
	r->size = (uint32_t)len;
	r->data_len = (uint32_t)(len - sizeof(*r));
	r->has_fd = !!(*how & WITH_FD);
	if (*how & RIGHT_ERROR) {
		r->error = 0;
		r->stat.mode = (r->stat.mode & 07777) | (r->stat.mode & 1 ? S_IFDIR : S_IFREG);
	}
	return len;
}

static void answer(struct input *in, const struct gofer_request *req)
{
	static unsigned char msg[GOFER_REPLY_MAX];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	uint8_t how;
	struct iovec iov = {msg, next_reply(in, req, msg, &how)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[2] = {-1, -1};

	if (how & WITH_FD) {
		size_t n = how & TWO_FDS ? 2 : 1;

		fds[0] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fds[1] = memfd_create("reply", MFD_CLOEXEC);
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(n * sizeof(int)),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), how & 16 ? &fds[1] : fds, sizeof(int));
		if (n == 2)
			memcpy(CMSG_DATA(&control.align) + sizeof(int), &fds[1], sizeof(int));
	}
	sendmsg(in->sock, &m, MSG_NOSIGNAL);
	close_fd_ptr(&fds[0]);
	close_fd_ptr(&fds[1]);
}

static void *gofer_main_thread(void *arg)
{
	static unsigned char request[GOFER_REQUEST_MAX];
	struct input *in = arg;

	while (recv(in->sock, request, sizeof(request), 0) >= (ssize_t)sizeof(struct gofer_request))
		answer(in, (const struct gofer_request *)request);
	close(in->sock);
	return NULL;
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void use_object(struct inode *inode)
{
	struct host_object *o = inode->private;
	struct iattr attr = {.valid = ATTR_MODE, .mode = 0600};
	struct dirlist *list;
	char buf[256], *target;

	if (!host_dirlist(o, &list))
		dirlist_put(list);
	if (!host_readlink(o, &target))
		free(target);
	host_getxattr(o, "user.a", buf, sizeof(buf));
	host_listxattr(o, buf, sizeof(buf));
	if (host_fd_get(o, false) >= 0)
		host_fd_put(o, false);
	if (host_fd_get(o, true) >= 0)
		host_fd_put(o, true);
	if (inode->ops && inode->ops->setattr)
		inode->ops->setattr(inode, &attr);
}

static void use_mount(struct super_block *sb)
{
	static const char *const names[] = {"a", "b", "a"};
	struct inode *root = sb->root->inode, *inode;

	use_object(root);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (host_lookup(root->private, names[i], &inode) || !inode)
			continue;
		use_object(inode);
		inode_put(inode);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static bool initialised;
	struct input in = {.bytes = bytes, .n = n};
	struct host_mount_arg arg = {.directfs = false};
	const struct fs_type *type;
	struct super_block *sb;
	pthread_t gofer;
	unsigned before;
	int pair[2];

	if (!initialised) {
		vfs_init();
		hostfs_init();
		initialised = true;
	}
	if (n) {
		arg.cache = bytes[0] & 1;
		arg.readonly = bytes[0] & 2;
		arg.directfs = bytes[0] & 4;
		in.bytes++;
		in.n--;
	}
	before = count_fds();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	in.sock = pair[1];
	arg.gofer_sock = pair[0];
	if (pthread_create(&gofer, NULL, gofer_main_thread, &in))
		abort();
	type = fs_find("host");
	if (!type->get_super(type, 0, "/fuzz", NULL, &arg, &sb)) {
		use_mount(sb);
		sb_put(sb);
	}
	pthread_join(gofer, NULL);
	if (count_fds() != before)
		abort();
	return 0;
}
