/* The numbers of layout.h for assembly; slots.c checks that they agree. */
#include "../shared/layout_asm.h"

#define STUB_SLOTS 0x7ff040000000
#define SLOT_REGION 0x10000000
#define SLOT_STACK_TOP 0x10000
#define SLOT_IRET_FRAME 0xa000
#define OFF_SELF 0x10
#define OFF_REGS 56
#define OFF_FPSTATE (56 + 23 * 8)
#define OFF_KICKED (OFF_FPSTATE + 12)
#define R_RIP (16 * 8)
#define R_EFLAGS (18 * 8)
#define R_RSP (19 * 8)
#define R_FS (21 * 8)
