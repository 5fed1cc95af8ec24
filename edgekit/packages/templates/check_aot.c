@BUFFERS@
static uint32_t @NAME@_equal_bytes(void)
{
    uint32_t equal = 0;
    @NAME@_reset();
    @NAME@_invoke(@ARGUMENTS@);
@EQUAL@
    return equal;
}
