/*
 * The memory system calls against a platform that is a table of pages: what the tree says, what the
 * "host" was told to map, and what a model that knows only pages expects must always agree.
 */
#include "vma_double.h"

/* --- invariants ------------------------------------------------------------------------------- */

static void check_tree(struct mm *mm)
{
	uint64_t prev_end = 0, total = 0, locked = 0;
	struct vm_area *vma, *prev = NULL;
	unsigned count = 0;

	for (vma = vma_find(mm, 0); vma; prev = vma, vma = vma_next(vma)) {
		uint64_t max = vma->gap;
		struct vm_area *left = RB_LEFT(vma, node), *right = RB_RIGHT(vma, node);

		assert_true(vma->start < vma->end);
		assert_true(vma->start >= prev_end);
		assert_int_equal(vma->gap, vma->start - prev_end);
		if (left && left->max_gap > max)
			max = left->max_gap;
		if (right && right->max_gap > max)
			max = right->max_gap;
		assert_int_equal(vma->max_gap, max);
		if (prev && prev->end == vma->start && vma_is_private_anon(vma) &&
		    vma_is_private_anon(prev))
			assert_false(prev->prot == vma->prot && prev->flags == vma->flags &&
				     prev->name == vma->name && prev->file == vma->file);
		prev_end = vma->end;
		total += (vma->end - vma->start) >> PAGE_SHIFT;
		if (vma->flags & VM_LOCKED)
			locked += (vma->end - vma->start) >> PAGE_SHIFT;
		count++;
	}
	assert_int_equal(mm->map_count, count);
	assert_int_equal(mm->total_vm, total);
	assert_int_equal(mm->locked_vm, locked);
}

/* The tree and the host agree on every page of the window. */
static void check_host(struct mm *mm)
{
	for (int i = 0; i < PAGES; i++) {
		uint64_t addr = BASE + i * PAGE_SIZE;
		struct vm_area *vma = vma_find(mm, addr);
		bool mapped = vma && vma->start <= addr;

		assert_int_equal(host[i].mapped, mapped);
		if (!mapped)
			continue;
		assert_int_equal(host[i].prot, vma->prot);
		assert_int_equal(host[i].shared, !!(vma->flags & VM_SHARED));
		assert_int_equal(host[i].fd, vma->host_fd);
		if (vma->host_fd >= 0)
			assert_int_equal(host[i].offset, vma->host_offset + (addr - vma->start));
	}
}

static struct mm *new_mm(void)
{
	struct mm *mm = mm_create((struct platform_as *)&host);

	assert_non_null(mm);
	memset(host, 0, sizeof(host));
	fail_next = 0;
	return mm;
}

static void free_mm(struct mm *mm)
{
	mm_put(mm);
	assert_int_equal(refcount_read(&test_file.refs), 1);
}

#define CTX ((struct platform_ctx *)NULL)
#define AT(page) (BASE + (page)*PAGE_SIZE)

static int64_t map_fixed(struct mm *mm, int page, int n, int prot)
{
	return mm_mmap(mm, CTX, AT(page), n * PAGE_SIZE, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void adjacent_anonymous_mappings_are_one_vma(void **state)
{
	struct mm *mm = new_mm();

	assert_int_equal(map_fixed(mm, 0, 4, RW), AT(0));
	assert_int_equal(map_fixed(mm, 8, 4, RW), AT(8));
	assert_int_equal(mm->map_count, 2);
	assert_int_equal(map_fixed(mm, 4, 4, RW), AT(4));
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(mm_mprotect(mm, CTX, AT(2), PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(mm->map_count, 3);
	assert_int_equal(mm_mprotect(mm, CTX, AT(2), PAGE_SIZE, RW), 0);
	assert_int_equal(mm->map_count, 1);
	check_tree(mm);
	check_host(mm);
	free_mm(mm);
}

static void mmap_refuses_what_linux_refuses(void **state)
{
	struct mm *mm = new_mm();
	const int anon = MAP_PRIVATE | MAP_ANONYMOUS;

	assert_int_equal(mm_mmap(mm, CTX, 0, 0, RW, anon, NULL, 0), -EINVAL);
	assert_int_equal(mm_mmap(mm, CTX, 0, PAGE_SIZE, RW, MAP_ANONYMOUS, NULL, 0), -EINVAL);
	assert_int_equal(mm_mmap(mm, CTX, 0, -1, RW, anon, NULL, 0), -ENOMEM);
	assert_int_equal(mm_mmap(mm, CTX, AT(0) + 1, PAGE_SIZE, RW, anon | MAP_FIXED, NULL, 0),
			 -EINVAL);
	assert_int_equal(mm_mmap(mm, CTX, 0, PAGE_SIZE, RW, anon | MAP_FIXED, NULL, 0), -EPERM);
	assert_int_equal(
		mm_mmap(mm, CTX, GUEST_TASK_SIZE, PAGE_SIZE, RW, anon | MAP_FIXED, NULL, 0),
		-ENOMEM);
	/* Of files, this is -EOPNOTSUPP. */
	assert_int_equal(
		mm_mmap(mm, CTX, 0, PAGE_SIZE, RW, MAP_SHARED_VALIDATE | 0x1000000, NULL, 0),
		-EINVAL);
	assert_int_equal(map_fixed(mm, 0, 2, RW), AT(0));
	assert_int_equal(
		mm_mmap(mm, CTX, AT(1), PAGE_SIZE, RW, anon | MAP_FIXED_NOREPLACE, NULL, 0),
		-EEXIST);
	test_file.can_write = false;
	assert_int_equal(mm_mmap(mm, CTX, 0, PAGE_SIZE, RW, MAP_SHARED, &test_file, 0), -EACCES);
	assert_true(mm_mmap(mm, CTX, AT(8), PAGE_SIZE, PROT_READ, MAP_SHARED, &test_file, 0) > 0);
	assert_int_equal(mm_mprotect(mm, CTX, AT(8), PAGE_SIZE, RW), -EACCES);
	test_file.can_write = true;
	assert_int_equal(mm_munmap(mm, CTX, AT(0) + 1, PAGE_SIZE), -EINVAL);
	assert_int_equal(mm_munmap(mm, CTX, AT(0), 0), -EINVAL);
	assert_int_equal(mm_munmap(mm, CTX, GUEST_TASK_SIZE, PAGE_SIZE), -EINVAL);
	check_tree(mm);
	free_mm(mm);
}

static void gap_search_finds_what_is_free(void **state)
{
	struct mm *mm = new_mm();
	uint64_t top = mm->mmap_base, a, b, c;

	a = mm_mmap(mm, CTX, 0, 3 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	b = mm_mmap(mm, CTX, 0, 5 * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	c = mm_mmap(mm, CTX, 0, 2 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(a, top - 3 * PAGE_SIZE);
	assert_int_equal(b, a - 5 * PAGE_SIZE);
	assert_int_equal(c, b - 2 * PAGE_SIZE);
	assert_int_equal(mm_munmap(mm, CTX, b, 5 * PAGE_SIZE), 0);
	/* Too large for the hole, then one that fits, at its top. */
	assert_int_equal(
		mm_mmap(mm, CTX, 0, 6 * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
		c - 6 * PAGE_SIZE);
	assert_int_equal(
		mm_mmap(mm, CTX, 0, 4 * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
		a - 4 * PAGE_SIZE);
	check_tree(mm);
	free_mm(mm);
}

static void gap_search_agrees_with_a_walk(void **state)
{
	struct mm *mm = new_mm();

	srandom(11);
	for (int round = 0; round < 300; round++) {
		uint64_t low = AT(random() % 40), high = AT(50 + random() % 46), want = 0;
		uint64_t len = (1 + random() % 6) * PAGE_SIZE, lowest = 0;
		int page = random() % (PAGES - 3);

		if (random() % 3)
			map_fixed(mm, page, 1 + random() % 3, random() % 4);
		else
			mm_munmap(mm, CTX, AT(page), (1 + random() % 3) * PAGE_SIZE);
		for (uint64_t a = low; a + len <= high; a += PAGE_SIZE)
			if (vma_range_free(mm, a, a + len)) {
				want = a;
				lowest = lowest ? lowest : a;
			}
		assert_int_equal(vma_gap_topdown(mm, low, high, len), want);
		assert_int_equal(vma_gap_bottomup(mm, low, high, len), lowest);
	}
	free_mm(mm);
}

static void mprotect_changes_what_comes_before_a_hole(void **state)
{
	struct mm *mm = new_mm();

	map_fixed(mm, 0, 2, RW);
	map_fixed(mm, 3, 2, RW);
	assert_int_equal(mm_mprotect(mm, CTX, AT(0), 5 * PAGE_SIZE, PROT_READ), -ENOMEM);
	assert_int_equal(vma_find(mm, AT(1))->prot, PROT_READ);
	assert_int_equal(vma_find(mm, AT(3))->prot, RW);
	assert_int_equal(mm_mprotect(mm, CTX, AT(0), PAGE_SIZE, 0x40), -EINVAL);
	check_host(mm);
	free_mm(mm);
}

static void mremap_grows_moves_and_shrinks(void **state)
{
	struct mm *mm = new_mm();
	unsigned tag;
	int64_t moved;

	map_fixed(mm, 0, 4, RW);
	tag = host[1].tag;
	assert_int_equal(mm_mremap(mm, CTX, AT(0), 4 * PAGE_SIZE, 6 * PAGE_SIZE, 0, 0), AT(0));
	assert_int_equal(host[1].tag, tag);
	map_fixed(mm, 6, 1, PROT_READ);
	assert_int_equal(mm_mremap(mm, CTX, AT(0), 6 * PAGE_SIZE, 8 * PAGE_SIZE, 0, 0), -ENOMEM);
	assert_int_equal(mm_mremap(mm, CTX, AT(0), 6 * PAGE_SIZE, 8 * PAGE_SIZE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, AT(20)),
			 AT(20));
	assert_int_equal(host[21].tag, tag);
	assert_false(host[0].mapped);
	assert_int_equal(mm_mremap(mm, CTX, AT(20), 8 * PAGE_SIZE, 2 * PAGE_SIZE, 0, 0), AT(20));
	assert_false(host[22].mapped);
	moved = mm_mremap(mm, CTX, AT(20), 2 * PAGE_SIZE, 2 * PAGE_SIZE,
			  MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, AT(40));
	assert_int_equal(moved, AT(40));
	assert_int_equal(host[41].tag, tag);
	assert_true(host[21].mapped);
	assert_int_not_equal(host[21].tag, tag);
	assert_int_equal(mm_mremap(mm, CTX, AT(70), PAGE_SIZE, 2 * PAGE_SIZE, 1, 0), -EFAULT);
	assert_int_equal(mm_mremap(mm, CTX, AT(40), 2 * PAGE_SIZE, 2 * PAGE_SIZE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, AT(41)),
			 -EINVAL);
	check_tree(mm);
	check_host(mm);
	free_mm(mm);
}

static void text_is_reported_when_it_goes(void **state)
{
	struct mm *mm = new_mm();

	map_fixed(mm, 0, 4, PROT_READ | PROT_EXEC);
	text_changes = 0;
	mm_mprotect(mm, CTX, AT(1), PAGE_SIZE, RW);
	assert_int_equal(text_changes, 1);
	mm_mprotect(mm, CTX, AT(1), PAGE_SIZE, PROT_READ | PROT_EXEC);
	assert_int_equal(text_changes, 1);
	mm_munmap(mm, CTX, AT(3), PAGE_SIZE);
	assert_int_equal(text_changes, 2);
	map_fixed(mm, 0, 1, RW);
	assert_int_equal(text_changes, 3);
	mm_munmap(mm, CTX, AT(0), PAGE_SIZE);
	assert_int_equal(text_changes, 3);
	free_mm(mm);
}

static void stacks_grow_into_free_space_only(void **state)
{
	struct mm *mm = new_mm();
	struct platform_event event = {.kind = EVENT_FAULT,
				       .signo = SIGSEGV,
				       .code = SEGV_MAPERR,
				       .trapno = 14,
				       .error = 6};
	uint64_t addr, base = AT(0) + (1ULL << 30);
	int code;

	assert_true(mm_mmap(mm, CTX, base, PAGE_SIZE, RW,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0) > 0);
	event.addr = base - 100 * PAGE_SIZE;
	assert_int_equal(mm_handle_fault(mm, CTX, &event, &code, &addr), 0);
	assert_int_equal(vma_find(mm, event.addr)->end, base + PAGE_SIZE);
	assert_true(vma_find(mm, event.addr)->start <= event.addr);
	/* A mapping too near below stops it. */
	mm_mmap(mm, CTX, base - 500 * PAGE_SIZE, PAGE_SIZE, RW,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
	event.addr = base - 490 * PAGE_SIZE;
	assert_int_equal(mm_handle_fault(mm, CTX, &event, &code, &addr), SIGSEGV);
	assert_int_equal(code, SEGV_MAPERR);
	/* What is mapped and allowed is tried again, what is not allowed is a signal. */
	event.addr = base - 500 * PAGE_SIZE;
	assert_int_equal(mm_handle_fault(mm, CTX, &event, &code, &addr), 0);
	mm_mprotect(mm, CTX, event.addr, PAGE_SIZE, PROT_READ);
	assert_int_equal(mm_handle_fault(mm, CTX, &event, &code, &addr), SIGSEGV);
	assert_int_equal(code, SEGV_ACCERR);
	check_tree(mm);
	free_mm(mm);
}

static void fork_leaves_out_and_wipes(void **state)
{
	struct mm *mm = new_mm(), *child;
	unsigned kept, wiped;

	map_fixed(mm, 0, 6, RW);
	assert_int_equal(mm_madvise(mm, CTX, AT(1), PAGE_SIZE, MADV_DONTFORK), 0);
	assert_int_equal(mm_madvise(mm, CTX, AT(3), PAGE_SIZE, MADV_WIPEONFORK), 0);
	assert_int_equal(mm_mlock(mm, CTX, AT(5), PAGE_SIZE, true), 0);
	kept = host[0].tag;
	wiped = host[3].tag;
	/* The "host" is the child's from here on. */
	assert_int_equal(mm_fork(mm, mm->as, CTX, &child), 0);
	assert_false(host[1].mapped);
	assert_int_equal(host[0].tag, kept);
	assert_int_not_equal(host[3].tag, wiped);
	assert_int_equal(child->locked_vm, 0);
	check_tree(child);
	check_host(child);
	free_mm(child);
	free_mm(mm);
}

static void failed_commands_leave_the_tree_as_it_was(void **state)
{
	struct mm *mm = new_mm();

	map_fixed(mm, 0, 8, RW);
	fail_next = ENOMEM;
	assert_int_equal(mm_munmap(mm, CTX, AT(2), PAGE_SIZE), -ENOMEM);
	fail_next = ENOMEM;
	assert_int_equal(map_fixed(mm, 3, 2, PROT_READ), -ENOMEM);
	fail_next = ENOMEM;
	assert_int_equal(mm_mprotect(mm, CTX, AT(4), PAGE_SIZE, PROT_READ), -ENOMEM);
	assert_int_equal(mm->map_count, 1);
	check_tree(mm);
	check_host(mm);
	free_mm(mm);
}

/* --- random sequences ---------------------------------------------------------------------------
 */

static bool model_mapped[PAGES];
static int model_prot[PAGES];

static void model_set(int page, int n, bool mapped, int prot)
{
	for (int i = page; i < page + n; i++) {
		model_mapped[i] = mapped;
		model_prot[i] = prot;
	}
}

static void model_protect(int page, int n, int prot)
{
	for (int i = page; i < page + n && model_mapped[i]; i++)
		model_prot[i] = prot;
}

static void model_move(int from, int n, int to, int new_n)
{
	int prot = model_prot[from];

	/* Without a change of length: each mapping, and what lies between is not touched. */
	for (int i = 0; n == new_n && i < n; i++)
		if (model_mapped[from + i]) {
			model_set(to + i, 1, true, model_prot[from + i]);
			model_set(from + i, 1, false, 0);
		}
	if (n == new_n)
		return;
	model_set(from, n, false, 0);
	model_set(to, new_n, true, prot);
}

static void random_step(struct mm *mm)
{
	static const int prots[] = {PROT_NONE, PROT_READ, RW, PROT_READ | PROT_EXEC,
				    RW | PROT_EXEC};
	int page = random() % PAGES, n = 1 + random() % 8, prot = prots[random() % 5];
	int to = random() % PAGES, new_n = 1 + random() % 8;
	bool shared = random() % 2;
	int64_t ret;

	n = MIN(n, PAGES - page);
	new_n = MIN(new_n, PAGES - to);
	switch (random() % 8) {
	case 0:
	case 1:
		assert_int_equal(map_fixed(mm, page, n, prot), AT(page));
		model_set(page, n, true, prot);
		break;
	case 2:
		assert_int_equal(mm_mmap(mm, CTX, AT(page), n * PAGE_SIZE, prot,
					 MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE),
					 &test_file, AT(page)),
				 AT(page));
		model_set(page, n, true, prot);
		break;
	case 3:
		assert_int_equal(mm_munmap(mm, CTX, AT(page), n * PAGE_SIZE), 0);
		model_set(page, n, false, 0);
		break;
	case 4:
	case 5:
		mm_mprotect(mm, CTX, AT(page), n * PAGE_SIZE, prot);
		model_protect(page, n, prot);
		break;
	case 6:
		ret = mm_mremap(mm, CTX, AT(page), n * PAGE_SIZE, new_n * PAGE_SIZE,
				MREMAP_MAYMOVE | MREMAP_FIXED, AT(to));
		if (ret > 0)
			model_move(page, n, to, new_n);
		break;
	default:
		if (random() % 2)
			mm_mlock(mm, CTX, AT(page), n * PAGE_SIZE, true);
		else
			mm_munlock(mm, AT(page), n * PAGE_SIZE);
		break;
	}
}

static void random_sequences_agree_with_the_model(void **state)
{
	for (int seed = 1; seed <= 20; seed++) {
		struct mm *mm = new_mm();

		srandom(seed);
		memset(model_mapped, 0, sizeof(model_mapped));
		for (int step = 0; step < 400; step++) {
			random_step(mm);
			check_tree(mm);
			check_host(mm);
			for (int i = 0; i < PAGES; i++) {
				assert_int_equal(host[i].mapped, model_mapped[i]);
				if (model_mapped[i])
					assert_int_equal(host[i].prot, model_prot[i]);
			}
		}
		free_mm(mm);
	}
}

/* The lock is given up between the parts, so they are small. */
static void large_ranges_are_made_resident_in_parts(void **state)
{
	const uint64_t size = 1UL << 30, start = 1UL << 40, most = 4UL << 20;
	struct mm *mm = new_mm();
	const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	assert_int_equal(mm_mmap(mm, CTX, start, size, RW, fixed, NULL, 0), start);
	advised = longest_advice = 0;
	assert_int_equal(mm_madvise(mm, CTX, start, size, MADV_POPULATE_WRITE), 0);
	assert_int_equal(advised, size);
	assert_true(longest_advice <= most);
	assert_int_equal(mm_munmap(mm, CTX, start + size / 2, PAGE_SIZE), 0);
	advised = longest_advice = 0;
	assert_int_equal(mm_madvise(mm, CTX, start, size, MADV_POPULATE_READ), -ENOMEM);
	assert_int_equal(advised, size / 2);
	advised = longest_advice = 0;
	assert_int_equal(mm_mmap(mm, CTX, start, size, RW, fixed | MAP_POPULATE, NULL, 0), start);
	assert_int_equal(advised, size);
	assert_true(longest_advice <= most);
	free_mm(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adjacent_anonymous_mappings_are_one_vma),
		cmocka_unit_test(mmap_refuses_what_linux_refuses),
		cmocka_unit_test(gap_search_finds_what_is_free),
		cmocka_unit_test(gap_search_agrees_with_a_walk),
		cmocka_unit_test(mprotect_changes_what_comes_before_a_hole),
		cmocka_unit_test(mremap_grows_moves_and_shrinks),
		cmocka_unit_test(text_is_reported_when_it_goes),
		cmocka_unit_test(stacks_grow_into_free_space_only),
		cmocka_unit_test(fork_leaves_out_and_wipes),
		cmocka_unit_test(failed_commands_leave_the_tree_as_it_was),
		cmocka_unit_test(large_ranges_are_made_resident_in_parts),
		cmocka_unit_test(random_sequences_agree_with_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
