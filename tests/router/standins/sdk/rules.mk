# What OpenWrt's rules.mk says, as far as a package of Rust's asks for it. OUT is the test's folder.
INCLUDE_DIR:=$(TOPDIR)/include
BUILD_DIR:=$(OUT)/build
PKG_BUILD_DIR=$(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR=$(PKG_BUILD_DIR)/ipkg-install
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
CP:=cp -fpR
