# KEEP THIS FILE TO YOURSELF: it holds the VPN's key. Delete it once it has run.
#
# Adds the VPN connection 'VPN acme' of 'bob+1@example.com' to Windows 10 or 11; one
# of that name is replaced. Run it as the person who uses the VPN, as a file, so that
# the key is in no history:
#
#   powershell -ExecutionPolicy Bypass -File THIS-FILE

$ErrorActionPreference = 'Stop'
# for whoever pastes these lines all the same
try { Set-PSReadLineOption -HistorySaveStyle SaveNothing } catch { }

$connection = 'VPN acme'

if (Get-VpnConnection -Name $connection -ErrorAction SilentlyContinue) {
    Remove-VpnConnection -Name $connection -Force
}
$settings = @{
    Name                 = $connection
    ServerAddress        = '203.0.113.10'
    TunnelType           = 'L2tp'
    L2tpPsk              = ' it''s $(a) <key> & \more`'
    AuthenticationMethod = 'MSChapv2'
    EncryptionLevel      = 'Required'
    RememberCredential   = $true
    SplitTunneling       = $true
    Force                = $true
}
Add-VpnConnection @settings

# Only these networks go through the VPN.
foreach ($prefix in @(
    '192.168.200.1/32',
    '10.10.0.0/24',
    '192.168.2.0/24',
    '192.168.1.0/24'
)) {
    Add-VpnConnectionRoute -ConnectionName $connection -DestinationPrefix $prefix
}

# The hub is behind NAT, which Windows accepts only when it is told so, by an
# administrator. That counts from the next restart on.
$policy = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\PolicyAgent'
$value = 'AssumeUDPEncapsulationContextOnSendRule'
$now = Get-ItemProperty -Path "Registry::$policy" -Name $value -ErrorAction SilentlyContinue
if (-not $now -or $now.$value -ne 2) {
    Start-Process -FilePath 'reg.exe' -ArgumentList 'add', $policy, '/v', $value, '/t', 'REG_DWORD', '/d', '2', '/f' -Verb RunAs -Wait
    Write-Host 'Restart Windows once before you connect.'
}

Write-Host "Done. Connect with the network icon in the taskbar: VPN, $connection."
Write-Host 'Windows asks once for the user name and the password:'
Write-Host '  user name: bob+1@example.com'
Write-Host ('  password:  ' + ' ''p'' <w>&$x;%y#')
