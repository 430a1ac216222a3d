/* The gofer's decoder and operations on bytes of an attacker's choice, in a scratch directory: no
 * crash, and nothing outside the directory is touched (the canary beside it stays as it is). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/gofer/gofer.h"
#include "sentry/fs/host/protocol.h"

static struct gofer_mount mount = {.root_fd = -1, .directfs = true};
static char outside[64];

static void set_up(void)
{
	char inside[80], path[100];
	int fd;

	strcpy(outside, "/tmp/gofer-fuzz-XXXXXX");
	if (!mkdtemp(outside))
		abort();
	snprintf(inside, sizeof(inside), "%s/root", outside);
	mkdir(inside, 0755);
	snprintf(path, sizeof(path), "%s/d", inside);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/l", inside);
	if (symlink("..", path))
		abort();
	snprintf(path, sizeof(path), "%s/f", inside);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	close(fd);
	mount.root_fd = open(inside, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mount.root_fd < 0)
		abort();
}

/* "root" is all that may be in the directory above. */
static void check_outside(void)
{
	char path[80];
	struct stat st;

	if (lstat(outside, &st) || st.st_nlink != 3)
		abort();
	for (const char *p = "dflxabc"; *p; p++) {
		snprintf(path, sizeof(path), "%s/%c", outside, *p);
		if (!lstat(path, &st))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char path[GOFER_PATH_MAX + 1], path2[GOFER_PATH_MAX + 1];
	static unsigned char data[GOFER_DATA_MAX];
	struct gofer_call call = {.mount = &mount};
	struct gofer_reply reply = {0};
	struct gofer_request *req;
	unsigned char *msg;
	int fd = -1;

	if (mount.root_fd < 0)
		set_up();
	msg = malloc(n ? n : 1);
	memcpy(msg, bytes, n);
	/* A header that passes the first checks makes more of the inputs count. */
	if (n >= sizeof(*req) && n % 4) {
		req = (struct gofer_request *)msg;
		req->version = GOFER_VERSION;
		req->size = n;
		req->op = req->op % GOFER_OP_END;
		req->path_len %= 16;
		req->path2_len %= 16;
		req->data_len = n - sizeof(*req) - req->path_len - req->path2_len;
		/* The file systems of the host are no subject of this. */
		if (req->arg < 0 || req->arg > 65536)
			req->arg = 4096;
	}
	if (!gofer_decode(msg, n, &call, path, path2)) {
		gofer_run(&call, &reply, data, &fd);
		if (reply.error > 0 || reply.data_len > GOFER_DATA_MAX)
			abort();
		if (fd >= 0)
			close(fd);
		check_outside();
	}
	free(msg);
	return 0;
}
