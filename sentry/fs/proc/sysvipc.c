/* /proc/sysvipc: the System V objects of the reader's namespace (man 5 proc). */
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/ipc/ipc.h"

static int show_msg(struct text *out, struct inode *inode)
{
	int used, last = ipc_max_index(IPC_MSG, &used);
	struct msqid_ds ds;

	text_puts(out,
		  "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid"
		  "  cgid      stime      rtime      ctime\n");
	for (int i = 0; i <= last; i++) {
		int id = msg_stat(i, MSG_STAT_ANY, &ds);

		if (id < 0)
			continue;
		text_printf(out,
			    "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10lu %10lu "
			    "%10lu\n",
			    ds.msg_perm.__key, id, ds.msg_perm.mode, ds.__msg_cbytes, ds.msg_qnum,
			    ds.msg_lspid, ds.msg_lrpid, ds.msg_perm.uid, ds.msg_perm.gid,
			    ds.msg_perm.cuid, ds.msg_perm.cgid, ds.msg_stime, ds.msg_rtime,
			    ds.msg_ctime);
	}
	return 0;
}

static int show_sem(struct text *out, struct inode *inode)
{
	int used, last = ipc_max_index(IPC_SEM, &used);
	struct semid_ds ds;

	text_puts(out, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime"
		       "      ctime\n");
	for (int i = 0; i <= last; i++) {
		int id = sem_stat(i, SEM_STAT_ANY, &ds);

		if (id < 0)
			continue;
		text_printf(out, "%10d %10d  %4o %10lu %5u %5u %5u %5u %10lu %10lu\n",
			    ds.sem_perm.__key, id, ds.sem_perm.mode, ds.sem_nsems, ds.sem_perm.uid,
			    ds.sem_perm.gid, ds.sem_perm.cuid, ds.sem_perm.cgid, ds.sem_otime,
			    ds.sem_ctime);
	}
	return 0;
}

/* The last two columns, resident and swapped bytes: shared memory is counted as resident. */
static int show_shm(struct text *out, struct inode *inode)
{
	int used, last = ipc_max_index(IPC_SHM, &used);
	struct shmid_ds ds;

	text_puts(out, "       key      shmid perms                  size  cpid  lpid nattch   uid"
		       "   gid  cuid  cgid      atime      dtime      ctime                   rss"
		       "                  swap\n");
	for (int i = 0; i <= last; i++) {
		int id = shm_stat(i, SHM_STAT_ANY, &ds);

		if (id < 0)
			continue;
		text_printf(out,
			    "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10lu %10lu %10lu "
			    "%21lu %21u\n",
			    ds.shm_perm.__key, id, ds.shm_perm.mode, ds.shm_segsz, ds.shm_cpid,
			    ds.shm_lpid, ds.shm_nattch, ds.shm_perm.uid, ds.shm_perm.gid,
			    ds.shm_perm.cuid, ds.shm_perm.cgid, ds.shm_atime, ds.shm_dtime,
			    ds.shm_ctime, ROUND_UP(ds.shm_segsz, PAGE_SIZE), 0U);
	}
	return 0;
}

const struct pseudo_node proc_sysvipc_nodes[] = {
	{.name = "msg", .mode = S_IFREG | 0444, .show = show_msg},
	{.name = "sem", .mode = S_IFREG | 0444, .show = show_sem},
	{.name = "shm", .mode = S_IFREG | 0444, .show = show_shm},
	{0},
};
