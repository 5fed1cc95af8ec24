/* What functions of the tests' models call of OpenCL C, for phone_opencl.c; the standard's own words
 * (OpenCL C 1.2, 6.12) in the plainest form. */
size_t phone_item(uint axis);

#define BUILTIN __attribute__((overloadable))

size_t BUILTIN get_global_id(uint axis) { return phone_item(axis); }

int4 BUILTIN convert_int4(char4 a) { return (int4)(a.s0, a.s1, a.s2, a.s3); }
char4 BUILTIN convert_char4(int4 a)
{
    return (char4)((char)a.s0, (char)a.s1, (char)a.s2, (char)a.s3);
}

int BUILTIN min(int a, int b) { return a < b ? a : b; }
int BUILTIN max(int a, int b) { return a > b ? a : b; }
int4 BUILTIN clamp(int4 a, int4 low, int4 high)
{
    return (int4)(min(max(a.s0, low.s0), high.s0), min(max(a.s1, low.s1), high.s1),
                  min(max(a.s2, low.s2), high.s2), min(max(a.s3, low.s3), high.s3));
}

int BUILTIN mul_hi(int a, int b) { return (int)((long)a * (long)b >> 32); }
int4 BUILTIN mul_hi(int4 a, int4 b)
{
    return (int4)(mul_hi(a.s0, b.s0), mul_hi(a.s1, b.s1), mul_hi(a.s2, b.s2), mul_hi(a.s3, b.s3));
}
int4 BUILTIN mul24(int4 a, int4 b) { return a * b; }
int4 BUILTIN mad24(int4 a, int4 b, int4 c) { return a * b + c; }

uint BUILTIN clz(uint a) { return a == 0u ? 32u : (uint)__builtin_clz(a); }
char4 BUILTIN select(char4 a, char4 b, char4 which)
{
    return (char4)(which.s0 < 0 ? b.s0 : a.s0, which.s1 < 0 ? b.s1 : a.s1,
                   which.s2 < 0 ? b.s2 : a.s2, which.s3 < 0 ? b.s3 : a.s3);
}
