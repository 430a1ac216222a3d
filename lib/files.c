/* Files in the sandbox: the sentry walks every path, in the guest's tree. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/internal.h"

#define CHUNK (1u << 20)
#define OPEN_MAX_DEFAULT (1ULL << 30)

static char *lend(const char *s)
{
	return (char *)(uintptr_t)s;
}

static int write_part(struct moat *m, const char *path, const void *data, size_t size,
		      uint64_t offset, mode_t mode, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__FileWrite write = MOAT__FILE_WRITE__INIT;
	char id[] = ROOT_ID;

	write.id = id;
	write.path = lend(path);
	write.data.data = (uint8_t *)(uintptr_t)data;
	write.data.len = size;
	write.offset = offset;
	write.mode = mode & 07777;
	write.truncate = write.parents = offset == 0;
	request.call_case = MOAT__REQUEST__CALL_FILE_WRITE;
	request.file_write = &write;
	return lib_call(m, &request, NULL, err);
}

int moat_write(struct moat *m, const char *path, const void *data, size_t size, mode_t mode,
	       struct moat_error *err)
{
	size_t done = 0;

	do {
		size_t n = size - done < CHUNK ? size - done : CHUNK;
		int ret = write_part(m, path, (const char *)data + done, n, done, mode, err);

		if (ret)
			return ret;
		done += n;
	} while (done < size);
	return 0;
}

int moat_copy_in(struct moat *m, int fd, const char *path, mode_t mode, struct moat_error *err)
{
	char *__free buf = malloc(CHUNK);
	uint64_t offset = 0;
	ssize_t n;

	if (!buf)
		return lib_fail(err, ENOMEM, "no memory");
	do {
		int ret;

		n = read(fd, buf, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lib_fail(err, errno, "what is to be copied cannot be read: %s",
					strerror(errno));
		if (!n && offset)
			break;
		ret = write_part(m, path, buf, (size_t)n, offset, mode, err);
		if (ret)
			return ret;
		offset += (uint64_t)n;
	} while (n);
	return 0;
}

static int write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* One part of the file, to the end of fd; its size, 0 at the end. */
static ssize_t read_part(struct moat *m, const char *path, uint64_t offset, int fd,
			 struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__FileRead read = MOAT__FILE_READ__INIT;
	Moat__Response *response;
	char id[] = ROOT_ID;
	ssize_t n = -EPROTO;
	int ret;

	read.id = id;
	read.path = lend(path);
	read.offset = offset;
	read.size = CHUNK;
	request.call_case = MOAT__REQUEST__CALL_FILE_READ;
	request.file_read = &read;
	ret = lib_call(m, &request, &response, err);
	if (ret)
		return ret;
	if (response->result_case != MOAT__RESPONSE__RESULT_FILE_DATA ||
	    response->file_data->data.len > CHUNK) {
		lib_fail(err, EPROTO, "the sandbox talks nonsense");
	} else {
		n = (ssize_t)response->file_data->data.len;
		ret = write_all(fd, response->file_data->data.data, (size_t)n);
		if (ret)
			n = lib_fail(err, ret, "%s", strerror(-ret));
	}
	control_response_free(response);
	return n;
}

int moat_open(struct moat *m, const char *path, uint64_t max, struct moat_error *err)
{
	int __close_fd fd = memfd_create("moat-file", MFD_CLOEXEC);
	uint64_t offset = 0;
	ssize_t n;

	max = max ? max : OPEN_MAX_DEFAULT;
	if (fd < 0)
		return lib_fail(err, errno, "memfd: %s", strerror(errno));
	while ((n = read_part(m, path, offset, fd, err)) > 0) {
		offset += (uint64_t)n;
		if (offset > max)
			return lib_fail(err, EFBIG, "%s: is larger than %llu bytes", path,
					(unsigned long long)max);
		if (n < (ssize_t)CHUNK)
			break;
	}
	if (n < 0)
		return (int)n;
	lseek(fd, 0, SEEK_SET);
	return steal_fd(&fd);
}

int moat_delete(struct moat *m, const char *path, int recursive, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__FileDelete delete = MOAT__FILE_DELETE__INIT;
	char id[] = ROOT_ID;

	delete.id = id;
	delete.path = lend(path);
	delete.recursive = recursive != 0;
	request.call_case = MOAT__REQUEST__CALL_FILE_DELETE;
	request.file_delete = &delete;
	return lib_call(m, &request, NULL, err);
}

int moat_list(struct moat *m, const char *path,
	      int (*fn)(void *arg, const struct moat_entry *entry), void *arg,
	      struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__FileName name = MOAT__FILE_NAME__INIT;
	Moat__Response *response;
	char id[] = ROOT_ID;
	int ret;

	name.id = id;
	name.path = lend(path);
	request.call_case = MOAT__REQUEST__CALL_FILE_LIST;
	request.file_list = &name;
	ret = lib_call(m, &request, &response, err);
	if (ret)
		return ret;
	if (response->result_case != MOAT__RESPONSE__RESULT_FILE_LIST)
		ret = lib_fail(err, EPROTO, "the sandbox talks nonsense");
	for (size_t i = 0; !ret && i < response->file_list->n_entries; i++) {
		const Moat__FileEntry *e = response->file_list->entries[i];
		char *__free text = strndup((const char *)e->name.data, e->name.len);
		struct moat_entry entry = {text, e->mode, e->size, e->modified_ns};

		ret = text ? fn(arg, &entry) : lib_fail(err, ENOMEM, "no memory");
	}
	control_response_free(response);
	return ret;
}
