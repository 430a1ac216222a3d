/* The caller's terminal and signals while a program of a sandbox has them. */
#ifndef MOAT_BOOT_TERMINAL_H
#define MOAT_BOOT_TERMINAL_H

/* Standard input's terminal passes bytes only: the guest's own does echo, line editing and signals.
 * Nothing if it is none. terminal_restore() undoes it; it may be called whether or not. */
void terminal_make_raw(void);
void terminal_restore(void);
/* Blocks the signals that are passed on, and gives a non-blocking signalfd of them; -1: none could
 * be made. SIGWINCH is among them. */
int open_signalfd(void);

#endif
