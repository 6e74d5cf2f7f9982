// A machine with cores enough for the core to have threads that help with copies, wherever the
// tests run: std::thread::hardware_concurrency() asks this function of the C library.
extern "C" __attribute__((visibility("default"))) int get_nprocs() noexcept { return 8; }
