// The registers of Arm's CMSDK APB UART (Arm DDI 0479, section 4.3) that a polling driver needs, with
// a byte stream in place of a serial line: a byte takes no time on the way.
module uart (
    input stb,
    input we,
    input [2:0] adr,  // of words
    input [7:0] dat_w,
    output [31:0] dat_r,
    input tx_ready,
    output tx_valid,
    output [7:0] tx_data,
    output rx_ready,
    input rx_valid,
    input [7:0] rx_data,
    output empty  // the program has looked and nothing was there
);
  localparam DATA = 0, STATE = 1;  // CTRL and BAUDDIV may be written and read as 0

  assign dat_r = adr == DATA ? {24'b0, rx_data} : adr == STATE ? {30'b0, rx_valid, !tx_ready} : 0;
  assign tx_valid = stb && we && adr == DATA;
  assign tx_data = dat_w;
  assign rx_ready = stb && !we && adr == DATA;
  assign empty = stb && !we && adr == STATE && !rx_valid;
endmodule
