/* containerManager: the life of containers and of processes in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

#define ID_MAX 1024
#define SIGNAL_MAX 64

static int check_id(const char *id, struct control_error *err)
{
	size_t n = strlen(id);

	if (!n || n > ID_MAX)
		return control_fail(err, EINVAL, "no container id, or one that is too long");
	return 0;
}

static int check_process(const Moat__ProcessSpec *p, unsigned other_fds, unsigned nfds,
			 struct control_error *err)
{
	if (!p || !p->n_args)
		return control_fail(err, EINVAL, "no program to run");
	if (p->seccomp.len % 8)
		return control_fail(err, EINVAL, "the seccomp program has a broken size");
	if (p->extra_files > CONTROL_FDS_MAX ||
	    nfds != (p->terminal ? 1u : 3u) + p->extra_files + other_fds)
		return control_fail(err, EINVAL, "not the descriptors that the process needs");
	return 0;
}

static int run_create(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	const Moat__Create *create = request->create;
	const Moat__ContainerSpec *spec = create->spec;
	unsigned host = 0;
	int ret = check_id(create->id, err);

	if (ret)
		return ret;
	if (!spec || !spec->n_mounts || !spec->mounts[0]->host)
		return control_fail(err, EINVAL, "no root file system");
	for (size_t i = 0; i < spec->n_mounts; i++)
		host += spec->mounts[i]->host;
	ret = check_process(spec->process, host + 1, call->nfds, err);
	if (!ret)
		ret = call_backend(call)->create(call_ctx(call), create, call->fds, call->nfds,
						 err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int start(struct control_call *call, const Moat__Start *what, bool root,
		 struct control_error *err)
{
	int ret = check_id(what->id, err);

	if (!ret)
		ret = call_backend(call)->start(call_ctx(call), what->id, root, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_start(struct control_call *call, const Moat__Request *request,
		     struct control_error *err)
{
	return start(call, request->start, false, err);
}

static int run_start_root(struct control_call *call, const Moat__Request *request,
			  struct control_error *err)
{
	return start(call, request->start_root, true, err);
}

static int run_destroy(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	int ret = check_id(request->destroy->id, err);

	if (!ret)
		ret = call_backend(call)->destroy(call_ctx(call), request->destroy->id, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int send_signal(struct control_call *call, const struct control_target *to, int sig,
		       struct control_error *err)
{
	int ret = check_id(to->id, err);

	if (ret)
		return ret;
	if (sig < 0 || sig > SIGNAL_MAX)
		return control_fail(err, EINVAL, "no signal has the number %d", sig);
	if (to->delivery != MOAT__DELIVERY__PROCESS && to->delivery != MOAT__DELIVERY__ALL &&
	    to->delivery != MOAT__DELIVERY__FOREGROUND_PROCESS_GROUP)
		return control_fail(err, EINVAL, "unknown delivery mode %d", (int)to->delivery);
	if (to->pid < 0)
		return control_fail(err, EINVAL, "no process has the number %d", to->pid);
	ret = call_backend(call)->signal(call_ctx(call), to, sig, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_signal(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	const Moat__Signal *s = request->signal;
	struct control_target to = {.id = s->id, .delivery = s->delivery};

	return send_signal(call, &to, s->signal, err);
}

static int run_signal_process(struct control_call *call, const Moat__Request *request,
			      struct control_error *err)
{
	const Moat__SignalProcess *s = request->signal_process;
	struct control_target to = {.id = s->id, .pid = s->pid, .delivery = s->delivery};

	return send_signal(call, &to, s->signal, err);
}

static int run_wait(struct control_call *call, const Moat__Request *request,
		    struct control_error *err)
{
	int ret = check_id(request->wait->id, err);

	/* Whoever answers frees the call, and with it the request. */
	return ret ? ret
		   : call_backend(call)->wait(call_ctx(call), request->wait->id, 0,
					      request->wait->bound, call, err);
}

static int run_wait_pid(struct control_call *call, const Moat__Request *request,
			struct control_error *err)
{
	const Moat__WaitPid *w = request->wait_pid;
	int ret = check_id(w->id, err);

	if (!ret && w->pid <= 0)
		ret = control_fail(err, EINVAL, "no process has the number %d", w->pid);
	return ret ? ret
		   : call_backend(call)->wait(call_ctx(call), w->id, w->pid, false, call, err);
}

static int run_execute(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	const Moat__Execute *e = request->execute;
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Process process = MOAT__PROCESS__INIT;
	int pid = 0, ret = check_id(e->id, err);

	if (!ret)
		ret = check_process(e->process, e->executable, call->nfds, err);
	if (!ret)
		ret = call_backend(call)->execute(call_ctx(call), e,
						  e->bound || e->hold ? call->connection->id : 0,
						  call->fds, call->nfds, &pid, err);
	if (ret)
		return ret;
	process.pid = pid;
	response.result_case = MOAT__RESPONSE__RESULT_PROCESS;
	response.process = &process;
	call_reply(call, &response);
	return 0;
}

static int run_proceed(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	int ret = check_id(request->proceed->id, err);

	if (!ret)
		ret = call_backend(call)->proceed(call_ctx(call), request->proceed, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_processes(struct control_call *call, const Moat__Request *request,
			 struct control_error *err)
{
	Moat__ProcessList *list = calloc(1, sizeof(*list));
	Moat__Response response = MOAT__RESPONSE__INIT;
	int ret;

	if (!list)
		return control_fail(err, ENOMEM, "no memory");
	moat__process_list__init(list);
	ret = check_id(request->processes->id, err);
	if (!ret)
		ret = call_backend(call)->processes(call_ctx(call), request->processes->id, list,
						    err);
	if (!ret) {
		response.result_case = MOAT__RESPONSE__RESULT_PROCESS_LIST;
		response.process_list = list;
		call_reply(call, &response);
	}
	moat__process_list__free_unpacked(list, NULL);
	return ret;
}

static int run_event(struct control_call *call, const Moat__Request *request,
		     struct control_error *err)
{
	Moat__Stats *stats = calloc(1, sizeof(*stats));
	Moat__Response response = MOAT__RESPONSE__INIT;
	int ret;

	if (!stats)
		return control_fail(err, ENOMEM, "no memory");
	moat__stats__init(stats);
	ret = check_id(request->event->id, err);
	if (!ret)
		ret = call_backend(call)->event(call_ctx(call), request->event->id, stats, err);
	if (!ret) {
		response.result_case = MOAT__RESPONSE__RESULT_STATS;
		response.stats = stats;
		call_reply(call, &response);
	}
	moat__stats__free_unpacked(stats, NULL);
	return ret;
}

static int pause_or_resume(struct control_call *call, const char *id, bool pause,
			   struct control_error *err)
{
	int ret = check_id(id, err);

	if (!ret)
		ret = call_backend(call)->pause(call_ctx(call), id, pause, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_pause(struct control_call *call, const Moat__Request *request,
		     struct control_error *err)
{
	return pause_or_resume(call, request->pause->id, true, err);
}

static int run_resume(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	return pause_or_resume(call, request->resume->id, false, err);
}

static int run_update(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	int ret = check_id(request->update->id, err);

	if (!ret)
		ret = call_backend(call)->update(call_ctx(call), request->update, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_unsupported(struct control_call *call, const Moat__Request *request,
			   struct control_error *err)
{
	return control_fail(err, EOPNOTSUPP, "%s is not supported", call->method->name);
}

static int run_resize(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	const Moat__Resize *r = request->resize;
	int ret = check_id(r->id, err);

	if (!ret)
		ret = call_backend(call)->resize(call_ctx(call), r->id, r->pid, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_release(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	if (!call->connection->owner)
		return control_fail(err, EPERM, "this connection does not own the sandbox");
	call->connection->owner = false;
	call_reply_empty(call);
	return 0;
}

static int run_attach(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	int ret;

	if (call->nfds != 1)
		return control_fail(err, EINVAL, "no socket to attach");
	ret = server_attach(call->connection->server, steal_fd(&call->fds[0]));
	if (ret)
		return control_fail(err, ret, "cannot attach a connection: %s", strerror(-ret));
	call_reply_empty(call);
	return 0;
}

static int run_reset(struct control_call *call, const Moat__Request *request,
		     struct control_error *err)
{
	int ret = check_id(request->reset->id, err);

	if (!ret)
		ret = call_backend(call)->reset(call_ctx(call), request->reset->id, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

static int run_status(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Status status = MOAT__STATUS__INIT;
	int ret = check_id(request->status->id, err);

	if (!ret)
		ret = call_backend(call)->status(call_ctx(call), request->status->id, &status, err);
	if (ret)
		return ret;
	response.result_case = MOAT__RESPONSE__RESULT_STATUS;
	response.status = &status;
	call_reply(call, &response);
	return 0;
}

const struct service_method container_methods[CONTAINER_METHODS_END] = {
	[MOAT__REQUEST__CALL_CREATE] = {"containerManager.Create", run_create, true,
					CONTROL_FDS_MAX},
	[MOAT__REQUEST__CALL_START] = {"containerManager.Start", run_start, true, 0},
	[MOAT__REQUEST__CALL_START_ROOT] = {"containerManager.StartRoot", run_start_root, true, 0},
	[MOAT__REQUEST__CALL_DESTROY] = {"containerManager.Destroy", run_destroy, true, 0},
	[MOAT__REQUEST__CALL_SIGNAL] = {"containerManager.Signal", run_signal, false, 0},
	[MOAT__REQUEST__CALL_SIGNAL_PROCESS] = {"containerManager.SignalProcess",
						run_signal_process, false, 0},
	[MOAT__REQUEST__CALL_WAIT] = {"containerManager.Wait", run_wait, false, 0},
	[MOAT__REQUEST__CALL_WAIT_PID] = {"containerManager.WaitPID", run_wait_pid, false, 0},
	[MOAT__REQUEST__CALL_EXECUTE] = {"containerManager.ExecuteAsync", run_execute, true,
					 CONTROL_FDS_MAX},
	[MOAT__REQUEST__CALL_PROCEED] = {"containerManager.Proceed", run_proceed, true, 0},
	[MOAT__REQUEST__CALL_PROCESSES] = {"containerManager.Processes", run_processes, true, 0},
	[MOAT__REQUEST__CALL_EVENT] = {"containerManager.Event", run_event, true, 0},
	[MOAT__REQUEST__CALL_PAUSE] = {"containerManager.Pause", run_pause, true, 0},
	[MOAT__REQUEST__CALL_RESUME] = {"containerManager.Resume", run_resume, true, 0},
	[MOAT__REQUEST__CALL_CHECKPOINT] = {"containerManager.Checkpoint", run_unsupported, false,
					    0},
	[MOAT__REQUEST__CALL_RESTORE] = {"containerManager.Restore", run_unsupported, false, 0},
	[MOAT__REQUEST__CALL_RESIZE] = {"containerManager.Resize", run_resize, false, 0},
	[MOAT__REQUEST__CALL_RELEASE] = {"containerManager.Release", run_release, false, 0},
	[MOAT__REQUEST__CALL_UPDATE] = {"containerManager.Update", run_update, true, 0},
	[MOAT__REQUEST__CALL_STATUS] = {"containerManager.Status", run_status, false, 0},
	[MOAT__REQUEST__CALL_ATTACH] = {"containerManager.Attach", run_attach, false, 1},
	[MOAT__REQUEST__CALL_RESET] = {"containerManager.Reset", run_reset, true, 0},
	[MOAT__REQUEST__CALL_FILE_READ] = {"files.Read", files_read, true, 0},
	[MOAT__REQUEST__CALL_FILE_WRITE] = {"files.Write", files_write, true, 0},
	[MOAT__REQUEST__CALL_FILE_DELETE] = {"files.Delete", files_delete, true, 0},
	[MOAT__REQUEST__CALL_FILE_LIST] = {"files.List", files_list, true, 0},
};
