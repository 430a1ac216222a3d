/* The numbers of layout.h for assembly; zygote.c checks that they agree. */
#define STUB_TEXT 0x7ff000000000
#define STUB_TEXT_SIZE 0x10000
#define STUB_MEMORY 0x7ff040000000
#define STUB_MEMORY_SIZE 0x10000000
#define ZYGOTE_STACK_TOP 0x10000
#define STUB_FSGSBASE 1
#define STUB_XSAVE 2
