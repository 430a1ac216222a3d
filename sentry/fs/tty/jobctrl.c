/*
 * Sessions and job control: the controlling terminal, its foreground group, SIGTTIN and SIGTTOU,
 * hangup (man 2 setsid, man 4 tty_ioctl, POSIX XBD 11.1).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

static bool is_session_leader(const struct thread_group *g)
{
	return g->session == g->tgid;
}

/* References; NULL if there is none. */
static struct pid *foreground_get(struct tty *tty)
{
	MUTEX_GUARD(&tty->ctrl_lock);
	return tty->pgrp ? pid_get(tty->pgrp) : NULL;
}

static struct pid *session_get(struct tty *tty)
{
	MUTEX_GUARD(&tty->ctrl_lock);
	return tty->session ? pid_get(tty->session) : NULL;
}

static struct pid *current_pgrp_get(void)
{
	READ_GUARD(&kernel.tasklist_lock);
	return pid_get(current->group->pgrp);
}

struct tty *group_tty_get(struct thread_group *g)
{
	READ_GUARD(&kernel.tasklist_lock);
	return g->tty ? tty_get(g->tty) : NULL;
}

int tty_foreground(struct tty *tty, const struct task *t)
{
	struct pid *pgrp = foreground_get(tty);
	int nr;

	if (!pgrp)
		return -1;
	nr = pid_nr_ns(pgrp, task_pid_ns(t));
	pid_put(pgrp);
	return nr;
}

static void signal_pgrp(struct pid *pgrp, int sig)
{
	struct thread_group *g;

	READ_GUARD(&kernel.tasklist_lock);
	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link)
		group_send_signal(g, sig, NULL);
}

void tty_signal_foreground(struct tty *tty, int sig)
{
	struct pid *pgrp = foreground_get(tty);

	if (!pgrp)
		return;
	signal_pgrp(pgrp, sig);
	pid_put(pgrp);
}

static bool signal_ignored(struct task *t, int sig)
{
	struct sighand *sh;
	bool ignored;

	if (t->blocked & SIG_BIT(sig))
		return true;
	sh = lock_sighand(t->group);
	ignored = sh->action[sig - 1].handler == (uint64_t)(uintptr_t)SIG_IGN;
	mutex_unlock(&sh->lock);
	return ignored;
}

/*
 * May the caller read (SIGTTIN) or change (SIGTTOU) its controlling terminal now? Background groups
 * are stopped by the signal, orphaned ones get -EIO; those that ignore SIGTTOU go ahead.
 */
int tty_check_change(struct tty *tty, int sig)
{
	struct pid *mine, *foreground;
	int err = 0;
	bool own;

	if (!current)
		return 0;
	read_lock(&kernel.tasklist_lock);
	own = current->group->tty == tty;
	read_unlock(&kernel.tasklist_lock);
	if (!own)
		return 0;
	foreground = foreground_get(tty);
	if (!foreground)
		return 0;
	mine = current_pgrp_get();
	if (mine != foreground) {
		if (signal_ignored(current, sig)) {
			err = sig == SIGTTIN ? -EIO : 0;
		} else if (pgrp_is_orphaned(mine)) {
			err = -EIO;
		} else {
			signal_pgrp(mine, sig);
			err = -ERESTARTSYS;
		}
	}
	pid_put(mine);
	pid_put(foreground);
	return err;
}

/* tasklist_lock held for writing. Consumes nothing. */
static void set_controlling_locked(struct tty *tty, struct thread_group *g)
{
	struct tty *old = g->tty;

	mutex_lock(&tty->ctrl_lock);
	if (tty->session)
		pid_put(tty->session);
	if (tty->pgrp)
		pid_put(tty->pgrp);
	tty->session = pid_get(g->session);
	tty->pgrp = pid_get(g->pgrp);
	mutex_unlock(&tty->ctrl_lock);
	g->tty = tty_get(tty);
	tty_put(old);
}

void tty_set_controlling(struct tty *tty, struct thread_group *g)
{
	WRITE_GUARD(&kernel.tasklist_lock);
	set_controlling_locked(tty, g);
}

/* A leader without a terminal that opens one without O_NOCTTY takes it. */
void tty_open_controlling(struct file *file, struct tty *tty)
{
	struct thread_group *g;

	if (!current || (file->flags & O_NOCTTY) || !file->can_read)
		return;
	g = current->group;
	WRITE_GUARD(&kernel.tasklist_lock);
	if (is_session_leader(g) && !g->tty && !tty->session)
		set_controlling_locked(tty, g);
}

/* Every process of the session loses its terminal. tasklist_lock held for writing. */
static void session_clear_tty(struct pid *session)
{
	struct thread_group *g;

	TAILQ_FOREACH (g, &session->session, session_link) {
		struct tty *tty = g->tty;

		g->tty = NULL;
		tty_put(tty);
	}
}

static void forget_session(struct tty *tty)
{
	MUTEX_GUARD(&tty->ctrl_lock);
	if (tty->session)
		pid_put(tty->session);
	if (tty->pgrp)
		pid_put(tty->pgrp);
	tty->session = tty->pgrp = NULL;
}

/*
 * The line went dead: SIGHUP and SIGCONT to the session leader and the foreground group, the
 * session loses the terminal, all open files of it read end of file and write -EIO.
 */
void tty_hangup(struct tty *tty)
{
	struct pid *session = session_get(tty), *pgrp = foreground_get(tty);

	mutex_lock(&tty->lock);
	tty->hangups++;
	tty->stopped = tty->flow_stopped = false;
	ldisc_flush_input(tty);
	mutex_unlock(&tty->lock);
	if (session) {
		write_lock(&kernel.tasklist_lock);
		if (session->group) {
			group_send_signal(session->group, SIGHUP, NULL);
			group_send_signal(session->group, SIGCONT, NULL);
		}
		session_clear_tty(session);
		write_unlock(&kernel.tasklist_lock);
	}
	if (pgrp) {
		signal_pgrp(pgrp, SIGHUP);
		signal_pgrp(pgrp, SIGCONT);
		pid_put(pgrp);
	}
	if (session)
		pid_put(session);
	forget_session(tty);
	wake_up_all(&tty->read_wait, ~0u);
	wake_up_all(&tty->write_wait, ~0u);
	wake_up_all(&tty->master_wait, ~0u);
}

void tty_disassociate(struct thread_group *g, bool on_exit)
{
	struct tty *tty;
	bool leader;

	write_lock(&kernel.tasklist_lock);
	leader = is_session_leader(g);
	tty = g->tty;
	if (!leader)
		g->tty = NULL;
	else if (tty)
		tty_get(tty);
	write_unlock(&kernel.tasklist_lock);
	if (!tty)
		return;
	if (leader && on_exit && tty->kind == TTY_CONSOLE) {
		tty_hangup(tty);
	} else if (leader) {
		struct pid *pgrp = foreground_get(tty);

		/* A pty goes on: its master decides when the line is dead. */
		if (pgrp) {
			signal_pgrp(pgrp, SIGHUP);
			if (!on_exit)
				signal_pgrp(pgrp, SIGCONT);
			pid_put(pgrp);
		}
		forget_session(tty);
		write_lock(&kernel.tasklist_lock);
		session_clear_tty(g->session);
		write_unlock(&kernel.tasklist_lock);
	}
	tty_put(tty);
}

/* --- requests ----------------------------------------------------------------------------------
 */

static long set_controlling(struct file *file, struct tty *tty, uint64_t arg)
{
	struct thread_group *g = current->group;
	bool admin = capable(CAP_SYS_ADMIN);
	struct pid *taken;

	WRITE_GUARD(&kernel.tasklist_lock);
	if (is_session_leader(g) && g->tty == tty)
		return 0;
	if (!is_session_leader(g) || g->tty)
		return -EPERM;
	taken = session_get(tty);
	if ((taken && (arg != 1 || !admin)) || (!file->can_read && !admin)) {
		if (taken)
			pid_put(taken);
		return -EPERM;
	}
	if (taken) {
		session_clear_tty(taken);
		pid_put(taken);
	}
	set_controlling_locked(tty, g);
	return 0;
}

static long give_up_controlling(struct tty *tty)
{
	struct tty *mine = group_tty_get(current->group);
	bool own = mine == tty;

	tty_put(mine);
	if (!own)
		return -ENOTTY;
	tty_disassociate(current->group, false);
	return 0;
}

static bool is_my_terminal(struct tty *tty)
{
	READ_GUARD(&kernel.tasklist_lock);
	return current->group->tty == tty && tty->session == current->group->session;
}

static long set_foreground(struct file *file, struct tty *tty, uint64_t arg)
{
	int32_t nr;
	struct pid *pgrp, *old;
	struct thread_group *g;
	long err = tty_check_change(tty, SIGTTOU);

	if (err)
		return err == -EIO ? -ENOTTY : err;
	if (get_user(&nr, arg))
		return -EFAULT;
	if (nr < 0)
		return -EINVAL;
	if (!is_my_terminal(tty))
		return -ENOTTY;
	pgrp = pid_find(task_pid_ns(current), nr);
	if (!pgrp)
		return -ESRCH;
	WRITE_GUARD(&kernel.tasklist_lock);
	g = TAILQ_FIRST(&pgrp->pgrp);
	if (!g || g->session != current->group->session) {
		pid_put(pgrp);
		return g ? -EPERM : -ESRCH;
	}
	MUTEX_GUARD(&tty->ctrl_lock);
	old = tty->pgrp;
	tty->pgrp = pgrp;
	if (old)
		pid_put(old);
	return 0;
}

/* The master may always ask; others about their own controlling terminal only. */
static long get_ids(struct file *file, struct tty *tty, unsigned cmd, uint64_t arg)
{
	struct pid *p;
	int32_t nr = 0;

	if (!file_tty(file)->master && !is_my_terminal(tty))
		return -ENOTTY;
	p = cmd == TIOCGSID ? session_get(tty) : foreground_get(tty);
	if (p) {
		nr = pid_nr_ns(p, task_pid_ns(current));
		pid_put(p);
	} else if (cmd == TIOCGSID) {
		return -ENOTTY;
	}
	return put_user(arg, nr);
}

long jobctrl_ioctl(struct file *file, struct tty *tty, unsigned cmd, uint64_t arg)
{
	switch (cmd) {
	case TIOCSCTTY:
		return set_controlling(file, tty, arg);
	case TIOCNOTTY:
		return give_up_controlling(tty);
	case TIOCSPGRP:
		return set_foreground(file, tty, arg);
	case TIOCGPGRP:
	case TIOCGSID:
		return get_ids(file, tty, cmd, arg);
	case TIOCVHANGUP:
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		tty_hangup(tty);
		return 0;
	default:
		return -ENOIOCTLCMD;
	}
}

SYSCALL_DEFINE0(vhangup)
{
	struct tty *tty;

	if (!capable(CAP_SYS_TTY_CONFIG))
		return -EPERM;
	tty = group_tty_get(t->group);
	if (tty)
		tty_hangup(tty);
	tty_put(tty);
	return 0;
}
