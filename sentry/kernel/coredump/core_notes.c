/* The notes of a core file: the layouts of <sys/procfs.h> (elf_prstatus, elf_prpsinfo) and of
 * Linux's fs/binfmt_elf.c (NT_FILE). */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "sentry/kernel/coredump/coredump_internal.h"
#include "sentry/kernel/task/task_upcalls.h"

#define FXSAVE_SIZE 512
/* In a signal frame's legacy area: magic, size, then the mask of features; a note has the mask in
 * their place, and no second magic at its end. */
#define SW_RESERVED 464
#define SW_RESERVED_SIZE 48
#define FRAME_FEATURES (SW_RESERVED + 8)
#define MAGIC2_SIZE 4
#define FILE_NOTE_MAX (4UL << 20)

struct prstatus {
	int signo, code, error;
	short cursig;
	uint64_t sigpend, sighold;
	int pid, ppid, pgrp, sid;
	struct timeval utime, stime, cutime, cstime;
	struct guest_regs regs;
	uint64_t ds, es, fs, gs;
	int fpvalid;
};
_Static_assert(sizeof(struct prstatus) == 336, "struct elf_prstatus");

struct prpsinfo {
	char state, sname, zomb, nice;
	uint64_t flag;
	uint32_t uid, gid;
	int pid, ppid, pgrp, sid;
	char fname[16], psargs[80];
};
_Static_assert(sizeof(struct prpsinfo) == 136, "struct elf_prpsinfo");

struct ids {
	int pid, ppid, pgrp, sid;
};

static void put_note(struct text *out, const char *name, uint32_t type, const void *data, size_t n)
{
	Elf64_Nhdr h = {
		.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)n, .n_type = type};
	static const char zeros[4];

	text_write(out, &h, sizeof(h));
	text_write(out, name, h.n_namesz);
	text_write(out, zeros, -h.n_namesz & 3);
	text_write(out, data, n);
	text_write(out, zeros, -n & 3);
}

static struct timeval to_timeval(uint64_t ns)
{
	return (struct timeval){(time_t)(ns / NSEC_PER_SEC),
				(suseconds_t)(ns % NSEC_PER_SEC / 1000)};
}

static void get_ids(struct task *t, struct ids *ids)
{
	struct pid_ns *ns = task_pid_ns(t);
	struct thread_group *g = t->group;
	READ_GUARD(&kernel.tasklist_lock);

	ids->pid = group_nr_ns(g, ns);
	ids->ppid = g->parent ? group_nr_ns(g->parent, ns) : 0;
	ids->pgrp = pid_nr_ns(g->pgrp, ns);
	ids->sid = pid_nr_ns(g->session, ns);
}

static void put_status(struct text *out, const struct core_dump *d, const struct core_thread *ct,
		       const struct ids *ids, bool first)
{
	struct thread_group *g = d->owner->group;
	struct prstatus s;
	uint64_t utime, stime;

	memset(&s, 0, sizeof(s));
	s.signo = s.cursig = (short)d->sig;
	if (first)
		s.code = d->info.si_code;
	s.sigpend = ct->pending;
	s.sighold = ct->blocked;
	s.pid = ct->tid;
	s.ppid = ids->ppid;
	s.pgrp = ids->pgrp;
	s.sid = ids->sid;
	if (first) {
		group_cpu_split(g, &utime, &stime);
		s.utime = to_timeval(utime);
		s.stime = to_timeval(stime);
	}
	s.regs = ct->regs;
	s.fpvalid = ct->has_fp;
	put_note(out, "CORE", NT_PRSTATUS, &s, sizeof(s));
}

static void put_process(struct text *out, struct task *t, const struct ids *ids)
{
	uint64_t start = t->mm->arg_start, size = t->mm->arg_end - start;
	struct prpsinfo p;
	ssize_t n;

	memset(&p, 0, sizeof(p));
	p.sname = 'R';
	p.nice = (char)t->nice;
	p.uid = uid_shown_here(t->cred->uid);
	p.gid = gid_shown_here(t->cred->gid);
	p.pid = ids->pid;
	p.ppid = ids->ppid;
	p.pgrp = ids->pgrp;
	p.sid = ids->sid;
	memcpy(p.fname, t->comm, sizeof(p.fname) - 1);
	n = mm_access(t->mm, start, p.psargs, MIN(size, sizeof(p.psargs) - 1), false, true);
	for (ssize_t i = 0; i < n - 1; i++)
		if (!p.psargs[i])
			p.psargs[i] = ' ';
	put_note(out, "CORE", NT_PRPSINFO, &p, sizeof(p));
}

/* Count, page size, then start, end and offset in pages of each, then the names. */
static void put_files(struct text *out, const struct core_ranges *r)
{
	uint64_t head[2] = {0, PAGE_SIZE};
	struct text names = {0}, all = {0};

	text_write(&all, head, sizeof(head));
	for (size_t i = 0; i < r->n; i++) {
		const struct core_range *c = &r->all[i];
		uint64_t entry[3] = {c->start, c->end, c->offset / PAGE_SIZE};
		char *path __free = c->file ? d_path(&c->file->path, NULL) : NULL;

		if (!path || all.len + names.len + strlen(path) > FILE_NOTE_MAX)
			continue;
		text_write(&all, entry, sizeof(entry));
		text_write(&names, path, strlen(path) + 1);
		head[0]++;
	}
	if (!all.failed) {
		memcpy(all.buf, head, sizeof(head));
		text_write(&all, names.buf, names.len);
	}
	if (head[0] && !all.failed && !names.failed)
		put_note(out, "CORE", NT_FILE, all.buf, all.len);
	text_free(&all);
	text_free(&names);
}

static void put_fp(struct text *out, const struct core_thread *ct)
{
	size_t size = platform_fpstate_size();
	char *image __free = NULL, sw[SW_RESERVED_SIZE] = {0};

	if (!ct->has_fp)
		return;
	image = malloc(size);
	if (!image) {
		out->failed = true;
		return;
	}
	memcpy(image, ct->fp, size);
	memset(image + SW_RESERVED, 0, SW_RESERVED_SIZE);
	put_note(out, "CORE", NT_PRFPREG, image, FXSAVE_SIZE);
	if (size <= FXSAVE_SIZE)
		return;
	memcpy(sw, ct->fp + FRAME_FEATURES, sizeof(uint64_t));
	memcpy(image + SW_RESERVED, sw, sizeof(sw));
	put_note(out, "LINUX", NT_X86_XSTATE, image, size - MAGIC2_SIZE);
}

void core_notes(struct text *out, const struct core_dump *d, const struct core_ranges *r)
{
	struct task *t = d->owner;
	struct mm *mm = t->mm;
	const struct core_thread *ct;
	guest_siginfo_t info = d->info;
	struct ids ids;

	info.si_signo = d->sig;
	get_ids(t, &ids);
	TAILQ_FOREACH (ct, &d->threads, link) {
		bool first = ct == TAILQ_FIRST(&d->threads);

		put_status(out, d, ct, &ids, first);
		if (first) {
			put_process(out, t, &ids);
			put_note(out, "CORE", NT_SIGINFO, &info, sizeof(info));
			put_note(out, "CORE", NT_AUXV, mm->auxv,
				 MIN(mm->auxv_len, (unsigned)ARRAY_SIZE(mm->auxv)) *
					 sizeof(mm->auxv[0]));
			put_files(out, r);
		}
		put_fp(out, ct);
	}
}
