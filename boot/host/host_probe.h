/* The probes of boot/host/host_features.c's table: whether this host has a feature, for this user,
 * here (an outer seccomp filter counts). Without lasting effect on the calling process or the host.
 */
#ifndef MOAT_BOOT_HOST_PROBE_H
#define MOAT_BOOT_HOST_PROBE_H

#include <stdbool.h>
#include <stddef.h>

bool probe_linux(char *detail, size_t n);
bool probe_fsgsbase(char *detail, size_t n);
bool probe_notify(char *detail, size_t n);
bool probe_sync_wake_up(char *detail, size_t n);
bool probe_wait_killable(char *detail, size_t n);
bool probe_process_vm(char *detail, size_t n);
bool probe_ptrace(char *detail, size_t n);
bool probe_yama(char *detail, size_t n);
bool probe_pidfd(char *detail, size_t n);
bool probe_memfd(char *detail, size_t n);
bool probe_direct_futex(char *detail, size_t n);
bool probe_clone3(char *detail, size_t n);
bool probe_openat2(char *detail, size_t n);
bool probe_close_range(char *detail, size_t n);
bool probe_fsmount(char *detail, size_t n);
bool probe_open_tree(char *detail, size_t n);
bool probe_mount_setattr(char *detail, size_t n);
bool probe_fchmodat2(char *detail, size_t n);
bool probe_user_namespaces(char *detail, size_t n);
bool probe_namespaces(char *detail, size_t n);
bool probe_landlock(char *detail, size_t n);
bool probe_new_privileges(char *detail, size_t n);
bool probe_cgroups(char *detail, size_t n);
bool probe_cpus(char *detail, size_t n);
bool probe_open_files(char *detail, size_t n);
bool probe_processes(char *detail, size_t n);
bool probe_overcommit(char *detail, size_t n);
bool probe_low_addresses(char *detail, size_t n);
bool probe_huge_pages(char *detail, size_t n);
bool probe_io_uring(char *detail, size_t n);
bool probe_proc(char *detail, size_t n);
bool probe_writable_root(char *detail, size_t n);
bool probe_executable_tmp(char *detail, size_t n);

#endif
