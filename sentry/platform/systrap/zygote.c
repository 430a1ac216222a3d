/* The zygote's orders, and what the clean stubs of systrap need besides. */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sentry/platform/systrap/systrap.h"

static void fill_config(struct stub_config *config)
{
	config->features = systrap.features;
	config->listener_flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	if (!(systrap.config.without & PLATFORM_WITHOUT_WAIT_KILLABLE))
		config->listener_flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	config->slots_fd = (uint64_t)systrap.slots_fd;
	vdso_describe(config);
	config->trap.program = STUB_CONFIG_ADDR(program[0]);
	config->trap.len =
		(uint16_t)trap_filter((struct sock_filter *)config->program[0], systrap.features);
	config->notify.program = STUB_CONFIG_ADDR(program[1]);
	/* An empty program is refused, like one with a listener before Linux 5.0. */
	if (!(systrap.config.without & PLATFORM_WITHOUT_NOTIFICATIONS))
		config->notify.len = (uint16_t)notify_filter(
			(struct sock_filter *)config->program[1], systrap.features);
}

/* as: the stub that is waited for, NULL: the zygote. No guest code has run in either, so all that
 * can keep them from answering is death. */
static int wait_for_turn(struct slot *slot, struct platform_as *as)
{
	struct timespec step = {0, 20000000};

	for (;;) {
		uint32_t turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);

		if (turn == TURN_SENTRY)
			return 0;
		if ((as && (as->dead || stub_has_died(as_head(as)))) || systrap.down)
			return -ESRCH;
		futex_wait_word(&slot->turn, turn, &step);
	}
}

/* No reaper yet: it may have died at once, where a filter of the host's kills it. */
static int wait_for_zygote(struct slot *slot)
{
	const struct timespec step = {0, 20000000};
	uint32_t turn;

	while ((turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE)) != TURN_SENTRY) {
		if (waitpid(systrap.zygote_pid, NULL, WNOHANG | __WALL))
			return -ECHILD;
		futex_wait_word(&slot->turn, turn, &step);
	}
	return (int)slot->cmd_result;
}

int zygote_start(void)
{
	struct stub_config config = {0};
	struct slot *slot = slot_of(0, 0);
	int ret;

	mutex_init(&systrap.zygote_lock);
	fill_config(&config);
	systrap.zygote = slot;
	slot->self = STUB_SLOTS;
	slot->turn = TURN_NONE;
	ret = zygote_spawn(&config, systrap.slots_fd, STUB_EXIT_SIGNAL);
	if (ret < 0)
		return ret;
	systrap.zygote_pid = ret;
	ret = wait_for_zygote(slot);
	if (!ret && !slot->scratch[3])
		vdso_disable();
	return ret;
}

/* Registers the process, sets its listener. */
static int zygote_fresh(struct platform_as *as)
{
	struct slot *slot = slot_of(as->index, 0);
	struct slot *z = systrap.zygote;
	__u64 flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
	int ret, fd;

	slot->self = STUB_SLOTS;
	slot->turn = TURN_NONE;
	slot->wake = WAKE_FUTEX;
	slot->spin = 0;
	slot->stub_sleeping = 0;

	mutex_lock(&systrap.zygote_lock);
	if (systrap.down) {
		mutex_unlock(&systrap.zygote_lock);
		return -ESRCH;
	}
	z->cmd = CMD_FRESH;
	z->cmd_args[0] = STUB_FORK_FLAGS;
	z->cmd_args[4] = (uint64_t)systrap.slots_fd;
	z->cmd_args[5] = as->index * SLOT_REGION;
	__atomic_store_n(&z->turn, TURN_COMMAND, __ATOMIC_SEQ_CST);
	futex_wake_word(&z->turn, 1);
	ret = wait_for_turn(z, NULL);
	if (!ret)
		ret = z->cmd_result > 0 ? as_register(as, (pid_t)z->cmd_result)
					: (int)z->cmd_result;
	mutex_unlock(&systrap.zygote_lock);
	if (!ret)
		ret = wait_for_turn(slot, as);
	if (ret)
		return ret;
	fd = (int)slot->cmd_result;
	if (fd < 0)
		return fd;
	/* Waking the peer on the same CPU is what makes the notification fast; older kernels lack
	 * it. */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags) ||
	    (systrap.config.without & PLATFORM_WITHOUT_SYNC_WAKE_UP))
		systrap.futex_mode = true;
	as->listener = listener_alloc(fd);
	if (!as->listener) {
		close(fd);
		return -ENOMEM;
	}
	slot->wake = WAKE_DOORBELL;
	return 0;
}

struct platform_as *zygote_make_clean(int *err)
{
	struct platform_as *as = as_alloc(NULL);

	if (!as) {
		*err = -EAGAIN;
		return NULL;
	}
	*err = zygote_fresh(as);
	if (*err) {
		systrap_as_put(as);
		return NULL;
	}
	return as;
}
