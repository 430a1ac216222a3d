/* A state file with arbitrary content: it is read, or refused. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/oci/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[64];

static void remove_root(void)
{
	state_remove(root, "x");
	rmdir(root);
}

static void make_root(void)
{
	int lock;

	snprintf(root, sizeof(root), "/tmp/moat-state-fuzz.%d", getpid());
	if (state_create(root, "x", &lock))
		abort();
	close(lock);
	atexit(remove_root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[128];
	struct state s;
	int fd;

	if (!root[0])
		make_root();
	snprintf(path, sizeof(path), "%s/x/state.json", root);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	if (!state_load(root, "x", &s)) {
		json_t *j = state_to_oci(&s, state_status(&s), true);

		json_decref(j);
		state_free(&s);
	}
	return 0;
}
