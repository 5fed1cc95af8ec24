// VexRiscv, the accelerator, a UART and one external memory that CPU and accelerator share.
//
//   4000_0000  the memory: what stands for flash (the first half) and RAM
//   F000_0000  the accelerator's registers
//   F001_4000  the UART
module soc #(
    parameter LATENCY = 10
) (
    input clk,
    input rst,
    output tx_valid,
    output [7:0] tx_data,
    output rx_ready,
    input rx_valid,
    input [7:0] rx_data,
    output rx_empty,
    output bad,  // the CPU reads or writes where nothing is, or writes to flash
    output bad_we,
    output [31:0] bad_address
);
  localparam RESET = 32'h4000_0000;

  // ---- the CPU
  wire i_cyc, i_stb, i_ack;
  wire d_cyc, d_stb, d_we, d_ack;
  wire [29:0] i_adr, d_adr;
  wire [31:0] i_dat, d_dat_r, d_dat_w;
  wire [3:0] d_sel;
  wire [2:0] i_cti, d_cti;
  wire irq;
`ifdef CFU
  wire cfu_cmd_valid, cfu_cmd_ready, cfu_rsp_valid, cfu_rsp_ready;
  wire [9:0] cfu_function;
  wire [31:0] cfu_a, cfu_b, cfu_result;
  cfu cfu (
      .clk(clk),
      .rst(rst),
      .cmd_valid(cfu_cmd_valid),
      .cmd_ready(cfu_cmd_ready),
      .cmd_function(cfu_function),
      .cmd_a(cfu_a),
      .cmd_b(cfu_b),
      .rsp_valid(cfu_rsp_valid),
      .rsp_ready(cfu_rsp_ready),
      .rsp_data(cfu_result)
  );
`endif
  VexRiscv cpu (
`ifdef CFU
      .CfuPlugin_bus_cmd_valid(cfu_cmd_valid),
      .CfuPlugin_bus_cmd_ready(cfu_cmd_ready),
      .CfuPlugin_bus_cmd_payload_function_id(cfu_function),
      .CfuPlugin_bus_cmd_payload_inputs_0(cfu_a),
      .CfuPlugin_bus_cmd_payload_inputs_1(cfu_b),
      .CfuPlugin_bus_rsp_valid(cfu_rsp_valid),
      .CfuPlugin_bus_rsp_ready(cfu_rsp_ready),
      .CfuPlugin_bus_rsp_payload_outputs_0(cfu_result),
`endif
      .clk(clk),
      .reset(rst),
      .externalResetVector(RESET),
      .timerInterrupt(1'b0),
      .softwareInterrupt(1'b0),
      .externalInterruptArray({31'b0, irq}),
      .iBusWishbone_CYC(i_cyc),
      .iBusWishbone_STB(i_stb),
      .iBusWishbone_ACK(i_ack),
      .iBusWishbone_WE(),
      .iBusWishbone_ADR(i_adr),
      .iBusWishbone_DAT_MISO(i_in_memory ? i_dat : 32'b0),  // 0 is no instruction
      .iBusWishbone_DAT_MOSI(),
      .iBusWishbone_SEL(),
      .iBusWishbone_ERR(1'b0),
      .iBusWishbone_CTI(i_cti),
      .iBusWishbone_BTE(),
      .dBusWishbone_CYC(d_cyc),
      .dBusWishbone_STB(d_stb),
      .dBusWishbone_ACK(d_ack),
      .dBusWishbone_WE(d_we),
      .dBusWishbone_ADR(d_adr),
      .dBusWishbone_DAT_MISO(d_dat_r),
      .dBusWishbone_DAT_MOSI(d_dat_w),
      .dBusWishbone_SEL(d_sel),
      .dBusWishbone_ERR(1'b0),
      .dBusWishbone_CTI(d_cti),
      .dBusWishbone_BTE()
  );

  // ---- who is meant
  // 4000_0000 to 407F_FFFF
  wire i_in_memory = i_adr[29:21] == 9'h080;
  wire d_in_memory = d_adr[29:21] == 9'h080;
  wire d_req = d_cyc && d_stb;
  wire d_io = d_req && !d_in_memory && d_idle;  // after the writes before it
`ifdef NPU
  wire d_is_npu = d_adr[29:14] == 16'hF000;
`else
  wire d_is_npu = 0;
`endif
  wire d_is_uart = d_adr[29:10] == 20'hF0014;

  // ---- the memory and its three masters: instructions, data, accelerator
  wire [2:0] cmd_valid, cmd_ready, cmd_we, r_valid, r_ready, w_valid, w_ready;
  wire [95:0] cmd_addr, w_data;
  wire [20:0] cmd_len;
  wire [11:0] w_strb;
  wire [31:0] r_data;
  memory #(
      .PORTS(3),
      .LATENCY(LATENCY)
  ) memory (
      .clk(clk),
      .rst(rst),
      .cmd_valid(cmd_valid),
      .cmd_ready(cmd_ready),
      .cmd_we(cmd_we),
      .cmd_addr(cmd_addr),
      .cmd_len(cmd_len),
      .r_valid(r_valid),
      .r_ready(r_ready),
      .r_data(r_data),
      .w_valid(w_valid),
      .w_ready(w_ready),
      .w_data(w_data),
      .w_strb(w_strb)
  );

  wishbone_port instructions (
      .clk(clk),
      .rst(rst),
      .stb(i_cyc && i_stb),
      .we(1'b0),
      .adr(i_adr),
      .dat_w(32'b0),
      .sel(4'b0),
      .cti(i_cti),
      .ack(i_ack),
      .dat_r(i_dat),
      .idle(),
      .cmd_valid(cmd_valid[0]),
      .cmd_ready(cmd_ready[0]),
      .cmd_we(cmd_we[0]),
      .cmd_addr(cmd_addr[31:0]),
      .cmd_len(cmd_len[6:0]),
      .r_valid(r_valid[0]),
      .r_ready(r_ready[0]),
      .r_data(r_data),
      .w_valid(w_valid[0]),
      .w_ready(w_ready[0]),
      .w_data(w_data[31:0]),
      .w_strb(w_strb[3:0])
  );

  wire d_ack_memory, d_idle;
  wire [31:0] d_dat_memory;
  wishbone_port data (
      .clk(clk),
      .rst(rst),
      .stb(d_req && d_in_memory),
      .we(d_we),
      .adr(d_adr),
      .dat_w(d_dat_w),
      .sel(d_sel),
      .cti(d_cti),
      .ack(d_ack_memory),
      .dat_r(d_dat_memory),
      .idle(d_idle),
      .cmd_valid(cmd_valid[1]),
      .cmd_ready(cmd_ready[1]),
      .cmd_we(cmd_we[1]),
      .cmd_addr(cmd_addr[63:32]),
      .cmd_len(cmd_len[13:7]),
      .r_valid(r_valid[1]),
      .r_ready(r_ready[1]),
      .r_data(r_data),
      .w_valid(w_valid[1]),
      .w_ready(w_ready[1]),
      .w_data(w_data[63:32]),
      .w_strb(w_strb[7:4])
  );

  // ---- registers
  wire [31:0] uart_dat;
`ifdef NPU
  wire npu_stb = d_io && d_is_npu;
  wire npu_ack, npu_clk;
  wire [31:0] npu_dat;
  clock_gate gate (
      .clk(clk),
      .run(rst || npu_stb || cmd_valid[2] || r_valid[2] || w_valid[2] || (started && !irq)),
      .gated(npu_clk)
  );
  reg started;  // and not reset since: `irq` tells whether it still runs
  always @(posedge clk) begin
    if (rst) started <= 0;
    else if (npu_stb && d_we && d_adr[5:0] == 2) started <= d_dat_w[0] && !d_dat_w[1];
  end
  npu npu (
      .clk(npu_clk),
      .rst(rst),
      .s_stb(npu_stb),
      .s_we(d_we),
      .s_adr(d_adr[5:0]),
      .s_dat_w(d_dat_w),
      .s_dat_r(npu_dat),
      .s_ack(npu_ack),
      .m_cmd_valid(cmd_valid[2]),
      .m_cmd_ready(cmd_ready[2]),
      .m_cmd_we(cmd_we[2]),
      .m_cmd_addr(cmd_addr[95:64]),
      .m_cmd_len(cmd_len[20:14]),
      .m_r_valid(r_valid[2]),
      .m_r_ready(r_ready[2]),
      .m_r_data(r_data),
      .m_w_valid(w_valid[2]),
      .m_w_ready(w_ready[2]),
      .m_w_data(w_data[95:64]),
      .m_w_strb(w_strb[11:8]),
      .irq(irq)
  );
`else
  wire npu_ack = 0;
  wire [31:0] npu_dat = 0;
  assign irq = 0;
  assign {cmd_valid[2], cmd_we[2], r_ready[2], w_valid[2]} = 0;
  assign cmd_addr[95:64] = 0;
  assign cmd_len[20:14] = 0;
  assign w_data[95:64] = 0;
  assign w_strb[11:8] = 0;
`endif

  uart uart (
      .stb(d_io && d_is_uart),
      .we(d_we),
      .adr(d_adr[2:0]),
      .dat_w(d_dat_w[7:0]),
      .dat_r(uart_dat),
      .tx_ready(1'b1),
      .tx_valid(tx_valid),
      .tx_data(tx_data),
      .rx_ready(rx_ready),
      .rx_valid(rx_valid),
      .rx_data(rx_data),
      .empty(rx_empty)
  );

  wire nobody = d_io && !d_is_npu && !d_is_uart;
  assign d_ack = d_in_memory ? d_ack_memory : d_is_npu ? npu_ack : d_io;
  assign d_dat_r = d_in_memory ? d_dat_memory : d_is_npu ? npu_dat : d_is_uart ? uart_dat : 0;

  assign bad = nobody || (d_req && d_in_memory && d_we && !d_adr[20]);
  assign bad_we = d_we;
  assign bad_address = {d_adr, 2'b00};
endmodule
