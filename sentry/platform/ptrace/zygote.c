/* The zygote: a parked thread like all others, attached when a clean stub is to be made. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/filter.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/stub_pid.h"
#include "sentry/platform/shared/vdso.h"
#include "sentry/platform/shared/zygote.h"

static struct {
	struct mutex lock; /* who attaches it */
	struct stub stub;
	struct tracee thread;
	bool down;
} zygote = {.lock = MUTEX_INIT_AS(LOCK_OVER_COMMANDS)};

static void fill_config(struct stub_config *config)
{
	config->features = (stub_host.features & STUB_XSAVE) | STUB_TRACED;
	vdso_describe(config);
	config->trap.program = STUB_CONFIG_ADDR(program[0]);
	config->trap.len = (uint16_t)traced_filter((struct sock_filter *)config->program[0]);
}

/* Its first call that the filter claims says that all is done, and whether it has the vDSO. Without
 * a filter it ends. */
static int wait_for_report(struct tracee *t)
{
	struct guest_regs regs;
	int stop, ret = tracee_run(t, PTRACE_CONT, 0, &stop);

	while (!ret && stop != STOP_CLAIMED)
		ret = tracee_run(t, PTRACE_CONT, stop_pass_signal(stop), &stop);
	if (!ret)
		ret = tracee_get_regs(t, &regs);
	if (!ret && !regs.rdi)
		vdso_disable();
	return ret;
}

int tracer_zygote_start(const char **what)
{
	struct stub_config config = {0};
	struct tracee *t = &zygote.thread;
	int ret;

	fill_config(&config);
	*what = "the zygote";
	ret = zygote_spawn(&config, -1, SIGCHLD);
	if (ret < 0)
		return ret;
	zygote.stub.head.pid = ret;
	t->head.tid = ret;
	t->head.as = (struct platform_as *)&zygote.stub;
	*what = "ptrace(2)";
	ret = tracee_attach(t);
	*what = "the zygote with its seccomp filter";
	if (!ret)
		ret = wait_for_report(t);
	*what = "the FPU's state by ptrace(2)";
	if (!ret)
		ret = fpu_init(t);
	if (!ret)
		tracee_detach(t);
	return ret;
}

bool tracer_zygote_has_died(void)
{
	return stub_has_died(&zygote.stub.head);
}

void tracer_zygote_end(void)
{
	pid_t pid = zygote.stub.head.pid;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

void tracer_zygote_stop(void)
{
	MUTEX_GUARD(&zygote.lock);

	zygote.down = true;
}

static int make(struct stub *stub)
{
	static const uint64_t args[6] = {STUB_FORK_FLAGS};
	int64_t pid = 0;
	int ret;
	MUTEX_GUARD(&zygote.lock);

	if (zygote.down)
		return -ESRCH;
	ret = tracee_call(&zygote.thread, SYS_clone, args, &pid);
	if (tracee_is_mine(&zygote.thread))
		tracee_detach(&zygote.thread);
	if (ret)
		return ret;
	return pid > 0 ? stub_register(&stub->head, (pid_t)pid) : (int)pid;
}

struct platform_as *tracer_make_clean(int *err)
{
	struct stub *stub = stub_alloc();

	*err = stub ? make(stub) : -ENOMEM;
	if (!*err)
		return (struct platform_as *)stub;
	if (stub)
		ptrace_as_put((struct platform_as *)stub);
	return NULL;
}
