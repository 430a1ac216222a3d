/* files: reading and writing the root container's tree from outside. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "control/internal.h"

#define READ_MAX (1u << 20)

static bool has_dot_dot(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
	return false;
}

static int check_path(const char *path, struct control_error *err)
{
	size_t n = strlen(path);

	if (n >= PATH_MAX)
		return control_fail(err, ENAMETOOLONG, "the path is too long");
	if (*path != '/' || has_dot_dot(path))
		return control_fail(err, EINVAL, "the path must be absolute and without '..': %s",
				    path);
	if (!path[strspn(path, "/")])
		return control_fail(err, EINVAL, "the path is the root itself");
	return 0;
}

int files_read(struct control_call *call, const Moat__Request *request, struct control_error *err)
{
	const Moat__FileRead *what = request->file_read;
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__FileData answer = MOAT__FILE_DATA__INIT;
	unsigned char *__free data = NULL;
	size_t size = 0;
	int ret = check_path(what->path, err);

	if (!ret && (what->size > READ_MAX || what->offset > INT64_MAX - READ_MAX))
		ret = control_fail(err, EINVAL, "no such part of a file can be read at once");
	if (!ret)
		ret = call_backend(call)->file_read(call_ctx(call), what, &data, &size,
						    &answer.size, err);
	if (ret)
		return ret;
	answer.data.data = data;
	answer.data.len = size;
	response.result_case = MOAT__RESPONSE__RESULT_FILE_DATA;
	response.file_data = &answer;
	call_reply(call, &response);
	return 0;
}

int files_write(struct control_call *call, const Moat__Request *request, struct control_error *err)
{
	const Moat__FileWrite *what = request->file_write;
	int ret = check_path(what->path, err);

	if (!ret && (what->mode > 07777 || what->offset > INT64_MAX - CONTROL_FRAME_MAX ||
		     (what->directory && what->data.len)))
		ret = control_fail(err, EINVAL, "mode, offset or data of a file that cannot be");
	if (!ret)
		ret = call_backend(call)->file_write(call_ctx(call), what, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

int files_delete(struct control_call *call, const Moat__Request *request, struct control_error *err)
{
	int ret = check_path(request->file_delete->path, err);

	if (!ret)
		ret = call_backend(call)->file_delete(call_ctx(call), request->file_delete, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

int files_list(struct control_call *call, const Moat__Request *request, struct control_error *err)
{
	Moat__FileList *list = calloc(1, sizeof(*list));
	Moat__Response response = MOAT__RESPONSE__INIT;
	const char *path = request->file_list->path;
	int ret;

	if (!list)
		return control_fail(err, ENOMEM, "no memory");
	moat__file_list__init(list);
	/* The root can be listed. */
	ret = strcmp(path, "/") ? check_path(path, err) : 0;
	if (!ret)
		ret = call_backend(call)->file_list(call_ctx(call), request->file_list, list, err);
	if (!ret) {
		response.result_case = MOAT__RESPONSE__RESULT_FILE_LIST;
		response.file_list = list;
		call_reply(call, &response);
	}
	moat__file_list__free_unpacked(list, NULL);
	return ret;
}
