/* smaps and smaps_rollup (man 5 proc_pid_smaps): the tree's mappings, with what the host says of
 * their pages. Where the host has joined mappings, each gets a part by its size. */
#include <errno.h>

#include "sentry/fs/proc/proc_internal.h"

struct mapping {
	const struct vm_area *vma;
	struct platform_resident u;
};

struct mappings {
	struct mapping *v;
	size_t n, at; /* the first that the host's next mapping can overlap */
};

static void add_part(struct platform_resident *sum, const struct platform_resident *u,
		     uint64_t part, uint64_t whole)
{
#define ADD(MEMBER)                                                                                \
	sum->MEMBER += part == whole ? u->MEMBER : u->MEMBER / 4096 * part / whole * 4096
	ADD(rss);
	ADD(pss);
	ADD(shared_clean);
	ADD(shared_dirty);
	ADD(private_clean);
	ADD(private_dirty);
	ADD(referenced);
	ADD(anonymous);
	ADD(anon_huge);
	ADD(swap);
#undef ADD
}

static void host_mapping(void *arg, uint64_t start, uint64_t end, const struct platform_resident *u)
{
	struct mappings *m = arg;

	while (m->at < m->n && m->v[m->at].vma->end <= start)
		m->at++;
	for (size_t i = m->at; i < m->n && m->v[i].vma->start < end; i++) {
		uint64_t from = MAX(m->v[i].vma->start, start), to = MIN(m->v[i].vma->end, end);

		add_part(&m->v[i].u, u, to - from, end - start);
	}
}

/* mm->lock held. The caller frees m->v. */
static int read_mappings(struct mm *mm, struct mappings *m)
{
	struct vm_area *vma;

	*m = (struct mappings){.v = calloc(mm->map_count + 1, sizeof(*m->v))};
	if (!m->v)
		return -ENOMEM;
	for (vma = vma_find(mm, 0); vma && m->n <= mm->map_count; vma = vma_next(vma))
		m->v[m->n++].vma = vma;
	return platform_as_each_mapping(mm->as, host_mapping, m);
}

static void smaps_flags(struct text *out, const struct vm_area *vma)
{
	const struct {
		bool set;
		const char *name;
	} flags[] = {
		{vma->prot & 1, "rd "},
		{vma->prot & 2, "wr "},
		{vma->prot & 4, "ex "},
		{vma->flags & VM_SHARED, "sh "},
		{true, "mr "},
		{!(vma->flags & VM_SHARED) || (vma->flags & VM_MAYWRITE), "mw "},
		{true, "me "},
		{vma->flags & VM_GROWSDOWN, "gd "},
		{vma->flags & VM_LOCKED, "lo "},
		{vma->flags & VM_DONTFORK, "dc "},
		{vma->flags & VM_DONTDUMP, "dd "},
		{vma->flags & VM_NORESERVE, "nr "},
		{vma->flags & VM_WIPEFORK, "wf "},
	};

	text_puts(out, "VmFlags: ");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].set)
			text_puts(out, flags[i].name);
	text_puts(out, "\n");
}

static void show_counters(struct text *out, const struct platform_resident *u, uint64_t locked)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} lines[] = {
		{"Rss:", u->rss},
		{"Pss:", u->pss},
		{"Shared_Clean:", u->shared_clean},
		{"Shared_Dirty:", u->shared_dirty},
		{"Private_Clean:", u->private_clean},
		{"Private_Dirty:", u->private_dirty},
		{"Referenced:", u->referenced},
		{"Anonymous:", u->anonymous},
		{"AnonHugePages:", u->anon_huge},
		{"Swap:", u->swap},
		{"Locked:", locked},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		text_printf(out, "%-16s%8lu kB\n", lines[i].name, lines[i].bytes >> 10);
}

static uint64_t locked_bytes(const struct mapping *m)
{
	return m->vma->flags & VM_LOCKED ? m->u.pss : 0;
}

int proc_show_smaps(struct text *out, struct inode *inode)
{
	struct mappings m;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err;
	COMMAND_GUARD(&mm->lock);
	err = read_mappings(mm, &m);
	for (size_t i = 0; !err && i < m.n; i++) {
		const struct vm_area *vma = m.v[i].vma;

		proc_show_vma(out, vma);
		text_printf(out, "%-16s%8lu kB\n%-16s%8u kB\n%-16s%8u kB\n",
			    "Size:", (vma->end - vma->start) >> 10, "KernelPageSize:", 4,
			    "MMUPageSize:", 4);
		show_counters(out, &m.v[i].u, locked_bytes(&m.v[i]));
		smaps_flags(out, vma);
	}
	free(m.v);
	return err;
}

int proc_show_smaps_rollup(struct text *out, struct inode *inode)
{
	struct platform_resident sum = {0};
	struct mappings m;
	uint64_t locked = 0;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err;
	COMMAND_GUARD(&mm->lock);
	err = read_mappings(mm, &m);
	for (size_t i = 0; i < m.n; i++) {
		add_part(&sum, &m.v[i].u, 1, 1);
		locked += locked_bytes(&m.v[i]);
	}
	if (!err && m.n) {
		text_printf(out, "%08lx-%08lx ---p 00000000 00:00 0 ", m.v[0].vma->start,
			    m.v[m.n - 1].vma->end);
		text_puts(out, "                         [rollup]\n");
		show_counters(out, &sum, locked);
	}
	free(m.v);
	return err;
}
